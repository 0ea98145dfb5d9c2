"""The AWS Lambda Web Adapter's pattern: the application under uvicorn, in a process of its own,
and a runtime loop that forwards each event to it over loopback HTTP.

The adapter is written in Rust. Here the runtime client is the one that all peers have, so the loop
costs more than the adapter's: what Python's client costs is in the row of the bare function.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from typing import Any

READINESS_SECONDS = 0.01
"""Between two looks whether the application is ready, as in the adapter."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


PORT = _free_port()
APPLICATION = "benchmarks.peers.application:app"
OPTIONS = ("--port", str(PORT), "--log-level", "warning", "--no-access-log")
server = subprocess.Popen([sys.executable, "-m", "uvicorn", APPLICATION, *OPTIONS])  # noqa: S603


def _connect() -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    while server.poll() is None:
        try:
            connection.connect()
        except ConnectionRefusedError:
            time.sleep(READINESS_SECONDS)
        else:
            return connection
    raise RuntimeError(f"uvicorn ended with {server.returncode}")


connection = _connect()


def handler(event: Any, _context: Any) -> dict[str, Any]:
    """Forward."""
    method, path = event["requestContext"]["http"]["method"], event["rawPath"]
    if event["rawQueryString"]:
        path += f"?{event['rawQueryString']}"
    connection.request(method, path, event.get("body"), event["headers"])
    response = connection.getresponse()
    body = response.read().decode()
    headers = dict(response.getheaders())
    return {"statusCode": response.status, "headers": headers, "body": body}
