"""An S3 on a loopback socket that fails as it is told to."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import unquote

ANSWERS = {
    "ok": (200, ""),
    "error": (500, "InternalError"),
    "slow down": (503, "SlowDown"),
    "denied": (403, "AccessDenied"),
    "no bucket": (404, "NoSuchBucket"),
}
KEPT_BYTES = 10_000_000
CHUNK_BYTES = 65_536


@dataclass
class Request:
    """A request as it came; ``body`` is kept up to 10 MB."""

    method: str
    key: str
    headers: http.client.HTTPMessage
    connection: int
    size: int = 0
    body: bytearray = field(default_factory=bytearray)
    digest: Any = field(default_factory=hashlib.sha256)


class FaultyS3:
    """Deals with each request as the next of ``behaviours`` says, with all further ones well.

    Behaviours: a key of ``ANSWERS``; "hang" never answers; "drop" resets the connection when the
    head of the request has come.
    """

    bucket = "faulty"

    def __init__(self, *behaviours: str, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.objects: dict[str, Request] = {}
        self.on_body: Callable[[], object] = lambda: None
        self._behaviours = list(behaviours)
        self._tls = tls
        self._connections: list[socket.socket] = []
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    @property
    def endpoint(self) -> str:
        """The address to use as s3_endpoint."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def reset_connections(self) -> None:
        """Reset every connection, as a network does that has forgotten it."""
        while self._connections:
            _reset(self._connections.pop())

    def close(self) -> None:
        """End: hung requests too."""
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset_connections()
        for thread in self._threads:
            thread.join()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._tls:  # shakes hands with the first read, which is in the thread
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, len(self._threads)))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while self._exchange(connection, stream, number):
                    pass
            except OSError:
                pass

    def _exchange(self, connection: socket.socket, stream: BinaryIO, number: int) -> bool:
        head = stream.readline().decode().split()
        if not head:
            return False
        headers = http.client.parse_headers(stream)
        key = unquote(head[1]).partition(f"/{self.bucket}/")[2]  # none when objects are deleted
        request = Request(head[0], key, headers, number)
        self.requests.append(request)
        behaviour = self._behaviours.pop(0) if self._behaviours else "ok"
        if behaviour == "drop":
            _reset(connection)
            return False
        _read_body(stream, request)
        self.on_body()
        if behaviour == "hang":
            self._ended.wait()
            return False
        if behaviour == "ok" and request.method == "POST":
            connection.sendall(_xml(200, "<DeleteResult></DeleteResult>"))
            return True
        if behaviour == "ok" and request.method in {"GET", "HEAD"}:
            found = self.objects.get(request.key)
            missing = "<Error><Code>NoSuchKey</Code></Error>" * (request.method == "GET")
            connection.sendall(_xml(200, found.body.decode()) if found else _xml(404, missing))
            return True
        if behaviour == "ok":
            self.objects[request.key] = request
        connection.sendall(_answer(*ANSWERS[behaviour]))
        return True


def _read_body(stream: BinaryIO, request: Request) -> None:
    left = int(request.headers["Content-Length"] or 0)
    while left:
        chunk = stream.read(min(left, CHUNK_BYTES))
        if not chunk:
            raise ConnectionError("the body ended early")
        left -= len(chunk)
        request.size += len(chunk)
        request.digest.update(chunk)
        if request.size <= KEPT_BYTES:
            request.body += chunk


def _answer(status: int, code: str) -> bytes:
    return _xml(
        status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>" if code else ""
    )


def _xml(status: int, body: str) -> bytes:
    phrase = http.client.responses[status]
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Length: {len(body)}\r\n"
        f'Content-Type: application/xml\r\nETag: "1"\r\n\r\n{body}'
    ).encode()


def _reset(connection: socket.socket) -> None:
    try:
        # Closed with this, a connection ends by RST; shut down, its reading thread wakes up.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
