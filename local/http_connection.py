"""HTTP/1.1 on one connection: one callback per request, bodies in memory.

The Runtime API and the HTTP front both need answers that come later and from elsewhere (a
long poll, another thread), so a handler gets a `reply` to call instead of returning.
"""

import asyncio
import http
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import h11

# awslambdaric sends an X-Ray cause of up to 1 MiB in a header.
_LONGEST_HEAD_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request; `headers` are in the order received, with lower-case names."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    client: str

    def header(self, name: str) -> str | None:
        """Return the first value of the header `name` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True)
class Response:
    """One answer; Content-Length is added."""

    status: int
    body: bytes = b""
    headers: Iterable[tuple[str, str]] = field(default=())


Reply = Callable[[Response], None]
Handler = Callable[[Request, Reply], None]


class Connection(asyncio.Protocol):
    """The server's side of a connection; it is one of `open_connections` while it lasts."""

    _transport: asyncio.Transport
    _head: h11.Request

    def __init__(self, handler: Handler, open_connections: set["Connection"]) -> None:
        self._handler = handler
        self._open_connections = open_connections
        self._http = h11.Connection(h11.SERVER, _LONGEST_HEAD_BYTES)
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._client = str(transport.get_extra_info("peername", ("",))[0])
        self._open_connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        """End."""
        self._open_connections.discard(self)

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Go on with a request."""
        self._http.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        try:
            self._read_events()
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _read_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, bytearray()
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._handler(self._request(), self._reply)
            else:
                return

    def _request(self) -> Request:
        return Request(
            method=self._head.method.decode(),
            target=self._head.target.decode("latin-1"),
            headers=[(k.decode(), v.decode("latin-1")) for k, v in self._head.headers],
            body=bytes(self._body),
            client=self._client,
        )

    def _reply(self, response: Response) -> None:
        if self._transport.is_closing():
            return
        try:
            self._send_response(response)
        except h11.LocalProtocolError:  # a header that a function made up
            self._send_response(Response(500))
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._advance()  # a pipelined request may be waiting
        else:
            self._transport.close()

    def _send_response(self, response: Response) -> None:
        # RFC 9110: these never carry a body, whatever the function returned.
        bodiless = response.status in (204, 304) or self._head.method == b"HEAD"
        length = [] if response.status in (204, 304) else [("Content-Length", len(response.body))]
        headers = [(k.encode(), v.encode("latin-1", "replace")) for k, v in response.headers]
        self._send(
            h11.Response(
                status_code=response.status,
                headers=[*headers, *((k.encode(), str(v).encode()) for k, v in length)],
                reason=_reason(response.status),
            )
        )
        if response.body and not bodiless:
            self._send(h11.Data(data=response.body))
        self._send(h11.EndOfMessage())

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{error}\n".encode()
            headers = [(b"Content-Length", str(len(body)).encode()), (b"Connection", b"close")]
            self._send(h11.Response(status_code=error.error_status_hint, headers=headers))
            self._send(h11.Data(data=body))
            self._send(h11.EndOfMessage())
        self._transport.close()

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._transport.write(data)


def _reason(status: int) -> bytes:
    try:
        return http.HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
