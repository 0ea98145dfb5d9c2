"""An invocation's work, when it is an HTTP request."""

from __future__ import annotations

from mangum.types import ASGI, Response, Scope

from app import durable
from handler.acceptance import Acceptance
from handler.environment import Environment
from handler.errors import NotAccepted
from handler.exchange import Exchange
from handler.invocation import Invocation


class Request:
    """One request to the application."""

    def __init__(self, environment: Environment, app: ASGI, scope: Scope, body: bytes) -> None:
        self._environment = environment
        self._app = app
        self._scope = scope
        self._body = body
        self._exchange: Exchange

    @property
    def response(self) -> Response:
        """The response. There is none before the invocation says so."""
        response = self._exchange.response
        assert response is not None  # noqa: S101
        return response

    async def run(self, invocation: Invocation) -> None:
        """Run the application, and with it the background tasks of the request."""
        environment = self._environment
        self._exchange = Exchange(self._scope, self._body, invocation.responded)
        acceptance = Acceptance(
            environment.ledger,
            environment.store,
            self._exchange,
            self._scope,
            self._body,
            invocation.request_id,
        )
        durable.acceptor.set(acceptance)
        try:
            await acceptance.prepare()
        except NotAccepted:
            return
        await self._exchange.run(self._app)

    def abandon(self) -> None:
        """Answer in place of an application that cannot be stopped."""
        self._exchange.abandon()
