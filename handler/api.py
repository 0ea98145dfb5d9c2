"""The Lambda function behind the API: ``handler.api.handler``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from handler import startup  # noqa: F401 - it has a say in how FastAPI is imported

# isort: split
from mangum.types import ASGI, LambdaContext, Receive, Scope, Send

from app.log import logger
from handler.environment import Environment
from handler.errors import BadRequest
from handler.event_source import EventSources, HttpEvent
from handler.request import Request
from handler.settings import Settings

Handler = Callable[[Any, LambdaContext], dict[str, Any]]

handler: Handler


class Api:
    """Serves HTTP events with an ASGI application, in one execution environment."""

    def __init__(self, app: ASGI, environment: Environment) -> None:
        self._app = app
        self._environment = environment
        self._sources = EventSources(app)

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Serve one event and return its answer. Raises UnsupportedEvent for what is not HTTP."""
        try:
            http = HttpEvent(self._sources, event, context, self._environment.settings.max_body)
            scope, body = http.scope, http.body
        except BadRequest as error:
            refused = Request(self._environment, _refusal(error), _UNREADABLE, b"")
            self._environment.invoke(context, refused)
            return http.refuse(error.status, str(error))
        except BaseException:
            self._environment.skip(context)
            raise
        scope["state"] = self._environment.state()
        request = Request(self._environment, self._app, scope, body)
        self._environment.invoke(context, request)
        return http.answer(request.response)


_UNREADABLE: Scope = {"method": "?", "path": "?", "root_path": ""}


def _refusal(error: BadRequest) -> ASGI:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        logger.warning("%d: %s", error.status, error)
        await send({"type": "http.response.start", "status": error.status})
        await send({"type": "http.response.body"})

    return refuse


def make_handler(app: ASGI, settings: Settings | None = None) -> Handler:
    """Return a Lambda handler for any ASGI application; settings default to the environment's.

    Raises SettingsError and LifespanFailed, which end init with their message.
    """
    environment = Environment(app, settings or Settings.from_environ(os.environ))
    return Api(app, environment).handle


def __getattr__(name: str) -> Handler:
    # Made when Lambda's runtime client looks it up, which is at init: a module that only wants
    # make_handler, for another application, does not start this one.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.main import app  # noqa: PLC0415

    made = globals()[name] = make_handler(app)
    return made
