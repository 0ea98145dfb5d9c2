"""A proxy in front of moto that refuses one request, by its number, and remembers all."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@dataclass(frozen=True)
class Heard:
    """A request that was passed on, with the names of its headers in lower case, and its answer."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200


class ProxyS3(ThreadingHTTPServer):
    """Passes requests on to ``upstream``; answers the one with the number ``deny`` with 403.

    403 is what is not tried again, so that one failure is one failed call. ``before`` and ``after``
    are called with each request's number, before it is passed on and when it has taken effect.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.upstream = upstream.removeprefix("http://")
        self.deny = -1
        self.before: Callable[[int], object] = lambda _: None
        self.after: Callable[[int], object] = lambda _: None
        self.calls: list[str] = []
        self.heard: list[Heard] = []

    @property
    def endpoint(self) -> str:
        """The address to use as s3_endpoint."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ProxyS3

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = len(self.server.calls)
        self.server.calls.append(f"{self.command} {self.path}")
        self.server.before(number)
        if number == self.server.deny:
            self._send(403, {}, b"<Error><Code>AccessDenied</Code></Error>")
            return
        upstream = http.client.HTTPConnection(self.server.upstream)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            response = upstream.getresponse()
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.command, self.path, headers, body, response.status)
            self.server.heard.append(heard)
            content = response.read()
            self.server.after(number)
            self._send(response.status, dict(response.getheaders()), content)
        finally:
            upstream.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def proxy_s3(upstream: str) -> Iterator[ProxyS3]:
    """Run a proxy."""
    server = ProxyS3(upstream)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
