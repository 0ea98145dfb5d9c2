"""The extension that holds the environment awake, against an Extensions API that misbehaves."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest
from conftest import ROOT

from handler.errors import RegistrationRefused
from handler.extension import Extension


class ExtensionsApi(ThreadingHTTPServer):
    """Answers ``event/next`` with what is put into ``events``: an event, or a status to fail with.

    Each ask is noted in ``asks`` when it arrives.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.events: Queue[Any] = Queue()
        self.asks: Queue[str] = Queue()
        self.registration: dict[str, Any] = {}
        self.register_status = 200

    @property
    def address(self) -> str:
        """Host and port, as in ``AWS_LAMBDA_RUNTIME_API``."""
        return f"127.0.0.1:{self.server_port}"

    def invoke(self, request_id: str, seconds: float = 30.0) -> None:
        """Send an INVOKE event whose deadline is ``seconds`` from now."""
        deadline = int((time.time() + seconds) * 1000)
        event = {"eventType": "INVOKE", "requestId": request_id, "deadlineMs": deadline}
        self.events.put(json.dumps(event).encode())


class _Answers(BaseHTTPRequestHandler):
    server: ExtensionsApi

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.registration = json.loads(body)
        self._answer(self.server.register_status, b"{}", "id-1")

    def do_GET(self) -> None:
        self.server.asks.put(self.headers["Lambda-Extension-Identifier"])
        event = self.server.events.get()
        if isinstance(event, int):
            self._answer(event, b"{}")
        else:
            self._answer(200, event)

    def _answer(self, status: int, body: bytes, identifier: str = "") -> None:
        self.send_response(status)
        if identifier:
            self.send_header("Lambda-Extension-Identifier", identifier)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[ExtensionsApi]:
    """An Extensions API on a port of its own."""
    server = ExtensionsApi()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def extension(api: ExtensionsApi) -> Extension:
    """A registered extension that has asked for its first event."""
    made = Extension(api.address)
    made.start()
    assert api.asks.get(timeout=10) == "id-1"
    return made


def test_it_subscribes_to_invoke_only(extension: Extension, api: ExtensionsApi) -> None:
    """An internal extension may subscribe to nothing else."""
    assert api.registration == {"events": ["INVOKE"]}


def test_a_refused_registration_says_what_lambda_answered(api: ExtensionsApi) -> None:
    """The error has the status."""
    api.register_status = 403
    with pytest.raises(RegistrationRefused, match="403"):
        Extension(api.address)


def test_it_asks_again_only_when_the_invocation_has_ended(
    extension: Extension, api: ExtensionsApi
) -> None:
    """The end of that very invocation lets it go."""
    extension.begin("one")
    api.invoke("one")
    with pytest.raises(Empty):
        api.asks.get(timeout=0.3)

    extension.end("one")

    assert api.asks.get(timeout=10)


def test_the_end_of_another_invocation_does_not_let_it_go(
    extension: Extension, api: ExtensionsApi
) -> None:
    """A stale signal, of an invocation long over, changes nothing."""
    extension.begin("two")
    api.invoke("two")
    extension.end("one")
    with pytest.raises(Empty):
        api.asks.get(timeout=0.3)

    extension.end("two")

    assert api.asks.get(timeout=10)


def test_an_invocation_that_ended_before_its_event_came_is_not_waited_for(
    extension: Extension, api: ExtensionsApi
) -> None:
    """The runtime may be done before the extension hears of the invocation at all."""
    extension.begin("quick")
    extension.end("quick")
    api.invoke("quick")

    assert api.asks.get(timeout=10)


def test_an_invocation_whose_handler_is_never_called_is_not_waited_for(
    extension: Extension, api: ExtensionsApi
) -> None:
    """It lets go well before the deadline, and tells the handler if it comes after all."""
    api.invoke("never", seconds=3600)
    assert api.asks.get(timeout=20)

    assert not extension.begin("never")


def test_an_invocation_that_never_ends_is_let_go_at_its_deadline(
    extension: Extension, api: ExtensionsApi
) -> None:
    """The next invocation is not blocked by one that forgot to end."""
    extension.begin("endless")
    api.invoke("endless", seconds=0.1)

    assert api.asks.get(timeout=10)


@pytest.mark.parametrize("failure", [500, b"no json", b"{}", b"[]"])
def test_a_failed_ask_is_asked_again(
    extension: Extension, api: ExtensionsApi, failure: int | bytes
) -> None:
    """One failure is recorded and does not end the holding."""
    api.events.put(failure)
    assert api.asks.get(timeout=10)
    extension.begin("after")
    api.invoke("after")
    extension.end("after")

    assert api.asks.get(timeout=10)


def test_after_failures_in_a_row_the_environment_is_ended(api: ExtensionsApi) -> None:
    """Lambda would wait for a silent extension, to the timeout, in each invocation to come."""
    code = (
        "from handler.extension import Extension; from threading import Event\n"
        f"Extension({api.address!r}).start(); Event().wait()"
    )
    for _ in range(3):
        api.events.put(500)

    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "ending this execution environment" in done.stdout
