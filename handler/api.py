"""The Lambda function behind the API: ``handler.api.handler``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mangum.types import ASGI, LambdaContext

from app.main import app
from handler.environment import Environment
from handler.settings import Settings


def make_handler(
    app: ASGI, settings: Settings | None = None
) -> Callable[[Any, LambdaContext], dict[str, Any]]:
    """Return a Lambda handler for any ASGI application; settings default to the environment's.

    Raises SettingsError and LifespanFailed, which end init with their message.
    """
    return Environment(app, settings or Settings.from_environ(os.environ)).handle


handler = make_handler(app)
