"""The Lambda function behind the API: ``handler.api.handler``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mangum.types import ASGI, LambdaContext

from handler.environment import Environment
from handler.settings import Settings

Handler = Callable[[Any, LambdaContext], dict[str, Any]]

handler: Handler


def make_handler(app: ASGI, settings: Settings | None = None) -> Handler:
    """Return a Lambda handler for any ASGI application; settings default to the environment's.

    Raises SettingsError and LifespanFailed, which end init with their message.
    """
    return Environment(app, settings or Settings.from_environ(os.environ)).handle


def __getattr__(name: str) -> Handler:
    # Made when Lambda's runtime client looks it up, which is at init: a module that only wants
    # make_handler, for another application, does not start this one.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.main import app  # noqa: PLC0415

    made = globals()[name] = make_handler(app)
    return made
