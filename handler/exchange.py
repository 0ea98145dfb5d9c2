"""One HTTP request through the ASGI application, one whole response back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus

from mangum.exceptions import UnexpectedMessage
from mangum.types import ASGI, Message, Response, Scope

from app.log import logger
from handler.errors import NotAccepted

ACCEPTED = HTTPStatus.ACCEPTED


class Exchange:
    """Feeds the application its request and collects its response.

    ``responded`` is called once, when the response is whole and not held: before the application's
    background tasks have run.
    """

    def __init__(self, scope: Scope, body: bytes, responded: Callable[[], None]) -> None:
        self.response: Response | None = None
        self._held = 0
        self._refused = False
        self._accepted: list[str] = []
        self._scope = scope
        self._body: bytes | None = body
        self._responded = responded
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._complete: asyncio.Event | None = None

    async def run(self, app: ASGI) -> None:
        """Run the application to its end. Whatever it raises becomes a record, and a 500 or a 504
        when it had not responded yet.
        """
        try:
            await app(self._scope, self._receive, self._send)
        except BaseException as error:  # noqa: BLE001 - a SystemExit in a route must not end the environment
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                task.uncancel()
                self._fail(504, "the request did not finish before its deadline")
            elif not (self._refused and isinstance(error, NotAccepted)):
                logger.exception("the application raised")
                self._fail(500, None)
        else:
            if self.response is None:
                self._fail(500, "the application ended without a whole response")
        self.release()

    def hold(self) -> None:
        """Keep the response, though it be whole, for one more durable task to be accepted."""
        if self._held or self.response is None:
            self._held += 1

    def release(self) -> None:
        """Let the response go, now or when it is whole."""
        if self._held:
            self._held = 0
            self._let_go()

    def accepted(self, task_ids: Sequence[str]) -> None:
        """Name accepted durable tasks in the response's headers; let it go with the last."""
        self._accepted.extend(task_ids)
        if self._held <= len(task_ids):
            self.release()
        else:
            self._held -= len(task_ids)

    def refuse(self, status: int, detail: object, *headers: list[bytes]) -> None:
        """Answer in place of the application."""
        self._refused = True
        self._held = 0
        self._accepted.clear()
        body = json.dumps({"detail": detail}).encode()
        self._respond(status, [[b"content-type", b"application/json"], *headers], body)

    def abandon(self) -> None:
        """Answer in place of an application that cannot be stopped."""
        self._fail(504, "the request did not stop when it was cancelled")

    def _fail(self, status: int, reason: str | None) -> None:
        if reason is not None:
            logger.error("%s: %s %s", reason, self._scope["method"], self._scope["path"])
        if self.response is None or self._held:
            # Whole or not: while it is held, what it promises has not been accepted.
            self._held = 0
            phrase = b"Gateway Timeout" if status == 504 else b"Internal Server Error"  # noqa: PLR2004
            self._respond(status, [[b"content-type", b"text/plain; charset=utf-8"]], phrase)

    def _respond(self, status: int, headers: list[list[bytes]], body: bytes) -> None:
        self.response = {"status": status, "headers": headers, "body": body}
        if self._complete is not None:
            self._complete.set()
        if not self._held:
            self._let_go()

    def _let_go(self) -> None:
        if self.response is None:
            return
        if self._accepted:
            self._name_tasks(self.response)
        self._responded()

    def _name_tasks(self, response: Response) -> None:
        headers = response["headers"]
        paths = [f"{self._scope['root_path']}/tasks/{each}".encode() for each in self._accepted]
        headers += [[b"link", b'<%b>; rel="monitor"' % path] for path in paths]
        alone = len(paths) == 1 and response["status"] == ACCEPTED
        if alone and all(key.lower() != b"location" for key, _ in headers):
            headers.append([b"location", paths[0]])

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        # The client cannot go away before its response; after it, it has.
        if self.response is None:
            self._complete = self._complete or asyncio.Event()
            await self._complete.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._start is None and kind == "http.response.start":
            self._start = message
        elif self._start and self.response is None and kind == "http.response.body":
            self._chunks.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                headers = [
                    [key, value if value.isascii() else _utf8(value)]
                    for key, value in self._start.get("headers", ())
                ]
                self._respond(self._start["status"], headers, b"".join(self._chunks))
        else:
            raise UnexpectedMessage(f"unexpected {kind}")


def _utf8(value: bytes) -> bytes:
    # ASGI's header values are latin-1, Mangum decodes UTF-8, and Lambda's answer is JSON.
    return value.decode("latin-1").encode()
