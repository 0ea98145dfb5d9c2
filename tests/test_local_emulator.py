"""local/ against AWS's own Runtime Interface Emulator: the same function, the same answers."""

import contextlib
import http.client
import json
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import samcli.local

from local.runtime import FunctionError, Runtime

_BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64"}
_BINARY = (
    Path(samcli.local.__path__[0]) / "rapid" / _BINARIES.get(platform.machine(), "no such binary")
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not _BINARY.exists(),
    reason="the emulator is for Linux on x86_64 and arm64",
)

# Asks what the two APIs answer, out of turn and in turn.
PROBES = """
    import http.client, json, os, threading, time

    def call(method, path, body="{}", **headers):
        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()

    def outcome(*args, **kwargs):
        answer, body = call(*args, **kwargs)
        try:
            return [answer.status, json.loads(body).get("errorType")]
        except ValueError:
            return [answer.status, body.decode()]

    RUNTIME, EXTENSION = "/2018-06-01/runtime/", "/2020-01-01/extension/"

    def register(name, body):
        return outcome("POST", EXTENSION + "register", body, Lambda_Extension_Name=name)

    at_init = {
        "no name": register("", '{"events": ["INVOKE"]}'),
        "no JSON": register("a", '{"events":'),
        "SHUTDOWN": register("b", '{"events": ["INVOKE", "SHUTDOWN"]}'),
        "no such event": register("c", '{"events": ["BOGUS"]}'),
    }
    answer, body = call(
        "POST", EXTENSION + "register", '{"events": ["INVOKE"]}', Lambda_Extension_Name="tasks"
    )
    registered = [answer.status, sorted(json.loads(body))]
    IDENTIFIER = answer.headers["Lambda-Extension-Identifier"]
    at_init["the same name"] = register("tasks", '{"events": ["INVOKE"]}')
    events = []

    def listen():
        while True:
            _, body = call("GET", EXTENSION + "event/next", Lambda_Extension_Identifier=IDENTIFIER)
            events.append(json.loads(body))

    threading.Thread(target=listen, daemon=True).start()

    def probe(event, context):
        other = "c0c3f2c5-8a1f-4d9d-9d0e-0f7a7b7c7d7e"
        again, body = call("GET", RUNTIME + "invocation/next")
        return at_init | {
            "registered": registered,
            "late": register("late", '{"events": ["INVOKE"]}'),
            "another response": outcome("POST", RUNTIME + "invocation/other/response"),
            "another error": outcome("POST", RUNTIME + "invocation/other/error"),
            "init error": outcome("POST", RUNTIME + "init/error"),
            "nobody's event": outcome("GET", EXTENSION + "event/next"),
            "no identifier": outcome(
                "GET", EXTENSION + "event/next", Lambda_Extension_Identifier="x"
            ),
            "unknown": outcome("GET", EXTENSION + "event/next", Lambda_Extension_Identifier=other),
            "untyped exit": outcome(
                "POST", EXTENSION + "exit/error", Lambda_Extension_Identifier=IDENTIFIER
            ),
            "no such path": outcome("GET", "/nothing"),
            "next again": [
                again.status,
                again.headers["Lambda-Runtime-Aws-Request-Id"] == context.aws_request_id,
                json.loads(body) == event,
            ],
        }

    def told(event, context):
        while not (mine := [e for e in events if e["requestId"] == context.aws_request_id]):
            time.sleep(0.002)
        # The emulator leaves out what AWS documents: nobody gave it a trace.
        return [sorted(mine[0].keys() - {"tracing"}), mine[0]["eventType"]]

    def echo(event, context):
        return {"event": event, "left": context.get_remaining_time_in_millis() > 0}

    def fail(event, context):
        raise LookupError("nothing there")

    def unserialisable(event, context):
        return object()

    def handler(event, context):
        return globals()[event["do"]](event, context)
"""


class Emulator:
    """The emulator, with one function."""

    def __init__(self, directory: Path) -> None:
        """Start it; its first line tells that it has begun to."""
        self._address, runtime_api = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        command = [
            *(str(_BINARY), "--runtime-interface-emulator-address", self._address),
            *("--runtime-api-address", runtime_api),
            *(sys.executable, "-m", "awslambdaric", "function.handler"),
        ]
        self._process = subprocess.Popen(
            command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={}
        )

    def invoke(self, event: object) -> Any:
        """Return the function's answer, or the error in its place."""
        connection = http.client.HTTPConnection(self._address, timeout=20)
        with contextlib.closing(connection):
            path = "/2015-03-31/functions/function/invocations"
            connection.request("POST", path, json.dumps(event))
            return json.loads(connection.getresponse().read())

    def wait(self) -> None:
        """Wait until it listens."""
        host, port = self._address.split(":")
        pause = threading.Event()
        for _ in range(1000):
            with socket.socket() as attempt:
                if attempt.connect_ex((host, int(port))) == 0:
                    return
            pause.wait(0.01)
        pytest.fail("the emulator does not listen")

    def close(self) -> None:
        """End it; SIGTERM lets it end the function's process."""
        self._process.terminate()
        self._process.wait()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the function."""
    directory = tmp_path_factory.mktemp("function")
    (directory / "function.py").write_text(dedent(PROBES))
    return directory


@pytest.fixture(scope="module")
def emulator(directory: Path) -> Iterator[Emulator]:
    """Run the emulator."""
    emulator = Emulator(directory)
    emulator.wait()
    yield emulator
    emulator.close()


@pytest.fixture(scope="module")
def runtime(directory: Path) -> Iterator[Runtime]:
    """Run ours."""
    with Runtime("function.handler", cwd=directory) as runtime:
        yield runtime


def answer_of(runtime: Runtime, event: object) -> Any:
    """Return the function's answer, or the error in its place, as the emulator does."""
    try:
        return runtime.invoke(event, timeout=20)
    except FunctionError as error:
        return error.payload


@pytest.mark.parametrize(
    "event",
    [
        {"do": "echo", "text": "é \u2028 \U0001f600", "nested": [1, None, {"a": 1.5}]},
        {"do": "told"},
    ],
    ids=["echo", "told"],
)
def test_the_same_events_give_the_same_answers(
    emulator: Emulator, runtime: Runtime, event: object
) -> None:
    """A function answers here what it answers there."""
    assert answer_of(runtime, event) == emulator.invoke(event)


@pytest.mark.parametrize("event", [{"do": "fail"}, {"do": "unserialisable"}, {"do": "nothing"}])
def test_the_same_failures_give_the_same_errors(
    emulator: Emulator, runtime: Runtime, event: object
) -> None:
    """A function that fails gives the same error, but for the request's id."""
    ours, theirs = answer_of(runtime, event), emulator.invoke(event)
    assert ours.pop("requestId") != theirs.pop("requestId")
    assert ours == theirs
    assert ours["errorType"]


def test_the_apis_refuse_the_same(emulator: Emulator, runtime: Runtime) -> None:
    """Status and error type are the same for each request out of turn: a late registration, too."""
    ours, theirs = answer_of(runtime, {"do": "probe"}), emulator.invoke({"do": "probe"})
    assert ours == theirs
    assert ours["late"] == [403, "Extension.RegistrationClosed"]
