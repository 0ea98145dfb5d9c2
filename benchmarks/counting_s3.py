"""An S3 for one bucket that keeps nothing and counts everything.

In a thread of the benchmark's process; what is measured runs in another.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from dataclasses import dataclass
from typing import Self

import h11

from local.http_server import bind

BUCKET = "benchmark"


@dataclass
class Counts:
    """Since the last look."""

    connections: int = 0
    requests: int = 0
    bytes: int = 0


class CountingS3:
    """Answers every request well, ``latency`` seconds after its end."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.latency = 0.0
        self.open: set[asyncio.Transport] = set()
        self._counts = Counts()
        self._context = context
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="S3", daemon=True)

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self._port = started.result()
        return self

    def __exit__(self, *_: object) -> None:
        """End, with every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        listener = bind(0)
        self._server = await self._loop.create_server(
            lambda: _Connection(self), sock=listener, ssl=self._context
        )
        port: int = listener.getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self.open):
            connection.abort()
        await asyncio.sleep(0)  # what is aborted is closed by the loop, when it comes to it

    @property
    def environ(self) -> dict[str, str]:
        """The variables that point any AWS SDK here."""
        scheme = "https" if self._context else "http"
        return {
            "BUCKET": BUCKET,
            "AWS_ENDPOINT_URL": f"{scheme}://localhost:{self._port}",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",  # boto3 reads no other
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_ALLOW_HTTP": "true",
            # A person's own settings are for the real AWS.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def take(self) -> Counts:
        """Return the counts since the last call."""
        counts, self._counts = self._counts, Counts()
        return counts

    def count(self, *, connections: int = 0, requests: int = 0, size: int = 0) -> None:
        """Add."""
        self._counts.connections += connections
        self._counts.requests += requests
        self._counts.bytes += size


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self, s3: CountingS3) -> None:
        self._s3 = s3
        self._http = h11.Connection(h11.SERVER)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._s3.open.add(transport)
        self._s3.count(connections=1)

    def connection_lost(self, _: Exception | None) -> None:
        self._s3.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self._s3.count(requests=1)
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
            elif isinstance(event, h11.Data):
                self._s3.count(size=len(event.data))
            elif isinstance(event, h11.EndOfMessage):
                asyncio.get_running_loop().call_later(self._s3.latency, self._answer)
            elif isinstance(event, h11.ConnectionClosed):
                self._transport.close()
                return

    def _answer(self) -> None:
        headers = [("Content-Length", "0"), ("ETag", '"1"')]
        self._send(h11.Response(status_code=200, headers=headers))
        self._send(h11.EndOfMessage())
        if self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._http.start_next_cycle()

    def _send(self, event: h11.Event) -> None:
        self._transport.write(self._http.send(event) or b"")
