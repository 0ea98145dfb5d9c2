"""What init leaves behind is good for an environment that goes on much later, or many times."""

from __future__ import annotations

import http.server
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certificates import server_context
from conftest import Context
from faulty_s3 import FaultyS3
from function import app, ask

from app.durable import new_id
from handler.credentials import ContainerCredentials
from handler.settings import Settings

MakeHandler = Callable[..., Any]
TOKEN = "of the endpoint"
NOTE = "note:here"


class Credentials:
    """Lambda's endpoint for credentials: new ones each time, that are good for ``minutes``.

    The first ``failures`` times it has none.
    """

    def __init__(self, minutes: int, failures: int = 0) -> None:
        self.asked: list[str | None] = []
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.asked.append(self.headers["Authorization"])
                if len(endpoint.asked) <= failures:
                    self.send_error(500)
                    return
                expires = datetime.now(UTC) + timedelta(minutes=minutes)
                given = {
                    "AccessKeyId": "AKIA",
                    "SecretAccessKey": "secret",
                    "Token": f"session {len(endpoint.asked)}",
                    "Expiration": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
                }
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(given).encode())

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of an environment from a snapshot."""
        return {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self._server.server_port}/c",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }

    def close(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def make_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Credentials]]:
    """A factory of endpoints; the variables have no credentials then."""
    made: list[Credentials] = []

    def make(*args: int) -> Credentials:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        made.append(Credentials(*args))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def make_s3() -> Iterator[Callable[..., FaultyS3]]:
    """A factory of S3 endpoints that tell what they were asked."""
    made: list[FaultyS3] = []

    def make(**options: Any) -> FaultyS3:
        made.append(FaultyS3(**options))
        return made[-1]

    yield make
    for s3 in made:
        s3.close()


def from_snapshot(make_handler: MakeHandler, s3: FaultyS3, credentials: Credentials) -> Any:
    """Return the handler of an environment that will be kept as a snapshot."""
    environ = {"BUCKET": s3.bucket, "AWS_REGION": "eu-central-1", **credentials.environ}
    read = Settings.from_environ(environ)
    return make_handler(
        app,
        bucket=s3.bucket,
        s3_endpoint=s3.endpoint,
        snapshot=read.snapshot,
        container_credentials=read.container_credentials,
    )


def test_a_snapshot_holds_no_connection_and_no_credentials(
    make_handler: MakeHandler,
    make_s3: Callable[..., FaultyS3],
    make_credentials: Callable[..., Credentials],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Init asks neither S3 nor the endpoint for credentials; the first write asks both."""
    credentials = make_credentials(60)
    s3 = make_s3(tls=server_context(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))

    handler = from_snapshot(make_handler, s3, credentials)
    at_init = (list(s3.requests), list(credentials.asked))
    handler(ask("/run", NOTE), Context())

    assert at_init == ([], [])
    assert credentials.asked == [TOKEN]
    (put,) = s3.requests
    assert put.headers["x-amz-security-token"] == "session 1"
    assert b"here" in put.body


def test_credentials_are_used_until_they_expire(
    make_handler: MakeHandler,
    make_s3: Callable[..., FaultyS3],
    make_credentials: Callable[..., Credentials],
) -> None:
    """The endpoint is asked once as long as its answer is good."""
    credentials, s3 = make_credentials(60), make_s3()
    handler = from_snapshot(make_handler, s3, credentials)

    for _ in range(3):
        handler(ask("/run", NOTE), Context())

    assert len(credentials.asked) == 1
    assert len(s3.requests) == 3


def test_credentials_that_expired_are_asked_for_again(
    make_handler: MakeHandler,
    make_s3: Callable[..., FaultyS3],
    make_credentials: Callable[..., Credentials],
) -> None:
    """After a rest that outlived them, the next write has new ones."""
    credentials, s3 = make_credentials(-1), make_s3()
    handler = from_snapshot(make_handler, s3, credentials)

    for _ in range(2):
        handler(ask("/run", NOTE), Context())

    tokens = [put.headers["x-amz-security-token"] for put in s3.requests]
    assert len(set(tokens)) == 2


def test_credentials_in_variables_go_first() -> None:
    """As in every AWS SDK."""
    environ = {
        "BUCKET": "b",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/c",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
    }

    there = Settings.from_environ(environ).container_credentials
    assert there == ContainerCredentials("http://127.0.0.1/c", TOKEN)
    with_key = Settings.from_environ(environ | {"AWS_ACCESS_KEY_ID": "AKIA"})
    assert with_key.container_credentials is None


def test_ids_do_not_come_from_what_a_snapshot_repeats() -> None:
    """Two environments with the same memory, at the same moment, make different ids."""
    random.seed(1)
    first = new_id()
    random.seed(1)

    assert new_id()[-16:] != first[-16:]


def test_the_first_connection_is_made_at_init(
    make_handler: MakeHandler,
    make_s3: Callable[..., FaultyS3],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Elsewhere, init connects by TLS, and the first write goes by that connection."""
    s3 = make_s3(tls=server_context(tmp_path))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))

    handler = make_handler(app, bucket=s3.bucket, s3_endpoint=s3.endpoint)
    at_init = [request.method for request in s3.requests]
    handler(ask("/run", NOTE), Context())

    assert at_init == ["HEAD"]
    assert [request.method for request in s3.requests] == ["HEAD", "PUT"]
    assert len({request.connection for request in s3.requests}) == 1


@pytest.mark.parametrize("failures", [0, 2])
def test_credentials_are_asked_for_past_a_proxy_and_again(
    make_handler: MakeHandler,
    make_s3: Callable[..., FaultyS3],
    make_credentials: Callable[..., Credentials],
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
) -> None:
    """A proxy for what is outside does not get the token, and a failure of the endpoint passes."""
    credentials, s3 = make_credentials(60, failures), make_s3()
    handler = from_snapshot(make_handler, s3, credentials)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    handler(ask("/run", NOTE), Context())

    assert credentials.asked == [TOKEN] * (failures + 1)
    assert [put.headers["x-amz-security-token"] for put in s3.requests] == [
        f"session {failures + 1}"
    ]
