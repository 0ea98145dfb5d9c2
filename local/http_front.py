"""HTTP in front of a function, as API Gateway's HTTP API is in front of the deployed one."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from local.http_connection import Reply, Request, Response
from local.http_event import INTERNAL_SERVER_ERROR, event_for, message, response_for
from local.invocation import FunctionError, Invocation
from local.runtime_api import LARGEST_PAYLOAD_BYTES

# HTTP APIs wait no longer than this for an integration.
INTEGRATION_SECONDS = 30.0

# Request line and headers: "Quotas for configuring and running an HTTP API" in the developer guide.
LARGEST_HEAD_BYTES = 10_240


@dataclass(frozen=True)
class Exchange:
    """A request that has been answered; its invocation may still go on.

    `began` and `answered` are time.monotonic()'s, in seconds.
    """

    request: Request
    response: Response
    began: float
    answered: float
    invocation: Invocation


class HttpFront:
    """`handle` is an `http_connection.Handler`; it must be called in a running event loop."""

    def __init__(
        self,
        start: Callable[[bytes], Invocation],
        on_exchange: Callable[[Exchange], None] = lambda _: None,
        integration_seconds: float = INTEGRATION_SECONDS,
    ) -> None:
        """`start` is a Runtime's; `on_exchange` gets each request after it was answered."""
        self._start = start
        self._on_exchange = on_exchange
        self._integration_seconds = integration_seconds

    def handle(self, request: Request, reply: Reply) -> None:
        """Invoke the function for `request`, and reply when it has responded."""
        if _head_bytes(request) > LARGEST_HEAD_BYTES:
            reply(message(431, "Request Header Fields Too Large"))
            return
        event = json.dumps(event_for(request)).encode()
        if len(event) > LARGEST_PAYLOAD_BYTES:
            reply(message(413, "Request Entity Too Large"))
            return
        _Pending(self._start(event), request, reply, self._on_exchange).wait(
            self._integration_seconds
        )


class _Pending:
    def __init__(
        self,
        invocation: Invocation,
        request: Request,
        reply: Reply,
        on_exchange: Callable[[Exchange], None],
    ) -> None:
        self._invocation = invocation
        self._request = request
        self._reply = reply
        self._on_exchange = on_exchange
        self._began = time.monotonic()
        self._answered = False

    def wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._answer, message(503, "Service Unavailable"))

        def responded(future: Future[bytes]) -> None:
            with contextlib.suppress(RuntimeError):  # the front was closed first
                loop.call_soon_threadsafe(timer.cancel)
                loop.call_soon_threadsafe(self._answer, _response(future))

        self._invocation.responded.add_done_callback(responded)

    def _answer(self, response: Response) -> None:
        if self._answered:
            return
        self._answered = True
        self._reply(response)
        self._on_exchange(
            Exchange(self._request, response, self._began, time.monotonic(), self._invocation)
        )


def _head_bytes(request: Request) -> int:
    line = len(request.method) + len(request.target)
    return line + sum(len(name) + len(value) for name, value in request.headers)


def _response(future: Future[bytes]) -> Response:
    try:
        return response_for(future.result())
    except FunctionError:
        return message(500, INTERNAL_SERVER_ERROR)
