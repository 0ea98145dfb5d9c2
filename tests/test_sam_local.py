"""In Lambda's container image, by `sam local`: what is built serves HTTP and takes every event.

Needs Docker and the image: `make test-sam`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from expectations import (
    BATCHES,
    REFUSED,
    SERVED,
    TURNED_AWAY,
    accept_tasks,
    assert_refused,
    assert_served,
    assert_turned_away,
    assert_worked,
    recorded,
)
from test_local_run import Run, descendants

import events
from local import log_place
from local.aws import REGION, without_settings
from local.clients import client_for
from local.docker import NoDocker, architecture, docker, provide, storage_driver
from local.log_tail import NewObjects
from local.sam_cli import build, local
from local.sam_guard import guarded
from local.sandbox import Sandbox, sandbox
from package.build import PYTHON_VERSION

pytestmark = pytest.mark.sam

IMAGE = f"public.ecr.aws/lambda/python:{PYTHON_VERSION}-{architecture()}"
EVENTS = [*SERVED, *TURNED_AWAY, *REFUSED, *BATCHES]
PROMPT = 120.0  # seconds: a first start puts SAM's emulator into the image
# Neither text nor valid in any encoding of text.
BINARY = bytes(range(256)) * 64
ANYONE = {"AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The storage driver of the Docker engine, which has the image."""
    try:
        driver = storage_driver()
        provide(IMAGE)
    except NoDocker as error:
        stop = pytest.fail if request.config.getoption("require_docker") else pytest.skip
        stop(f"sam local cannot run: {error}")
    return driver


@pytest.fixture(scope="session")
def built(engine: str, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of a build that pytest-xdist's workers share."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "built" / "template.yaml"
        return done if done.exists() else build(done.parent, without_settings())


@pytest.fixture(scope="session")
def box(engine: str) -> Iterator[Sandbox]:
    """S3 and SQS that containers reach."""
    with sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def template(box: Sandbox, built: Path, worker_id: str) -> Path:
    """The template whose functions use them."""
    return box.template(built, f"{worker_id}.yaml")


@pytest.fixture(scope="session")
def environ(box: Sandbox) -> dict[str, str]:
    """The environment of SAM CLI."""
    return {**box.sam_environ, "SAM_CLI_TELEMETRY": "0"}


def function_for(name: str) -> str:
    """Return the function that an event is for."""
    return "WorkerFunction" if name in BATCHES else "ApiFunction"


@pytest.fixture
def check(box: Sandbox) -> Callable[[str, Callable[[], Any]], None]:
    """Invoke with an event, and compare the response and what is in S3 with what it leads to."""
    log = NewObjects(log_place.local({**box.environ, "BUCKET": box.bucket}))
    list(log.read())
    s3 = client_for("s3", box.environ)
    task = {"email": "jane@example.com", "message": "Your order has shipped"}

    def check(name: str, invoke: Callable[[], Any]) -> None:
        accept_tasks(s3, box.bucket, "app.notifications.write_notification", task)
        response = invoke()
        if name in SERVED:
            assert_served(name, response)
            objects = [[json.loads(line) for line in lines] for _, lines in log.read()]
            expected = [recorded(name)] if recorded(name) else []
            assert [[each["message"] for each in records] for records in objects] == expected
        elif name in TURNED_AWAY:
            assert_turned_away(name, response)
        elif name in REFUSED:
            assert response["errorType"] == "UnsupportedEvent"
            assert_refused(name, response["errorMessage"])
        else:
            assert_worked(name, response, s3, box.bucket)

    return check


def test_every_file_is_invoked_with() -> None:
    """No file under events/ is left out below."""
    assert {f"{name}.json" for name in EVENTS} == {
        path.relative_to(events.FOLDER).as_posix() for path in events.FOLDER.rglob("*.json")
    }


@pytest.mark.parametrize("name", EVENTS)
def test_sam_local_invoke(
    engine: str,
    template: Path,
    environ: dict[str, str],
    check: Callable[[str, Callable[[], Any]], None],
    name: str,
) -> None:
    """`sam local invoke -e FILE` prints what the function responds to the event."""
    if engine == "vfs" and name not in (SERVED[0], TURNED_AWAY[0], REFUSED[0], BATCHES[0]):
        pytest.skip("this engine copies the image for each container: `start-lambda` has to do")

    def invoke() -> Any:
        ended = subprocess.run(
            local("invoke", template, function_for(name), f"--event={events.FOLDER / name}.json"),
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout.strip().rpartition("\n")[2])

    check(name, invoke)


@pytest.fixture(scope="module")
def lambda_client(box: Sandbox, template: Path, environ: dict[str, str]) -> Iterator[Any]:
    """A client of `sam local start-lambda`, whose containers stay."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = (f"--port={port}", "--warm-containers=EAGER")
    command = local("start-lambda", template, *options)
    with guarded(box.endpoint_in_containers, command, environ, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if b"Running on http" in line:
                break
        else:
            pytest.fail("sam local start-lambda does not run")
        # Whoever does not read the rest stops SAM once the pipe is full.
        rest = threading.Thread(target=process.stderr.read)
        rest.start()
        yield client_for("lambda", {**environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    rest.join()
    process.stderr.close()


@pytest.mark.parametrize("name", EVENTS)
def test_sam_local_start_lambda(
    lambda_client: Any, check: Callable[[str, Callable[[], Any]], None], name: str
) -> None:
    """Every event in turn, the refused ones among them, is served in one environment."""
    payload = (events.FOLDER / f"{name}.json").read_bytes()

    def invoke() -> Any:
        answer = lambda_client.invoke(FunctionName=function_for(name), Payload=payload)
        return json.load(answer["Payload"])

    check(name, invoke)


class Api(Run):
    """`make run-sam`, where it serves, and where its log is."""

    def __init__(self, folder: Path) -> None:
        super().__init__("--build-dir", str(folder), module="local.sam", prompt=PROMPT)
        self._folder = folder
        self.bucket, endpoint = self.until(
            r"the log is in (\S+) at (http://[^\s/]+:\d+)\."
        ).groups()
        self.s3 = client_for("s3", {**ANYONE, "AWS_ENDPOINT_URL": endpoint})

    def send(self, method: str, target: str, **options: Any) -> httpx.Response:
        """Send a request."""
        url = f"http://127.0.0.1:{self.port}{target}"
        return httpx.request(method, url, timeout=PROMPT, trust_env=False, **options)

    def containers(self) -> list[str]:
        """Return the containers that have its build."""
        build = self._folder / "ApiFunction"
        return docker("ps", "--all", "--quiet", "--filter", f"volume={build}").split()

    def read(self, key: str) -> bytes:
        """Return an object's content."""
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content


@pytest.fixture(scope="module")
def start(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Api]]:
    """A factory of them, each with a build of its own."""
    with ExitStack() as stack:

        def start() -> Api:
            api = Api(tmp_path_factory.mktemp("build"))
            stack.callback(lambda: api.process.poll() is None and api.end(signal.SIGTERM))
            return api

        yield start


@pytest.fixture(scope="module")
def api(start: Callable[[], Api]) -> Api:
    """One that the tests share."""
    return start()


def test_the_documented_example_is_served_and_its_records_are_in_s3(api: Api) -> None:
    """The answer is the documented one; both records are in one object of JSON lines."""
    answer = api.send("POST", "/send-notification/ada@example.com?q=lambda")

    assert (answer.status_code, answer.json()) == (200, {"message": "Message sent"})
    _, key = api.until(r"s3://([^/]+)/(log/\S+\.jsonl)").groups()
    records = [json.loads(line) for line in api.read(key).decode().splitlines()]
    assert [record["message"] for record in records] == [
        "found query: lambda",
        "message to ada@example.com",
    ]
    assert {record["request_id"] for record in records} == {key.split("Z-")[1][: -len(".jsonl")]}


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/docs", 200),
        ("GET", "/nothing", 404),
        ("GET", "/send-notification/ada@example.com", 405),
        ("POST", "/send-notification/nobody", 422),
    ],
)
def test_each_status_is_the_application_s(api: Api, method: str, target: str, status: int) -> None:
    """Whatever the path, the request reaches the application, and its answer the client."""
    assert api.send(method, target).status_code == status


def test_a_binary_file_is_accepted_and_summarised(api: Api) -> None:
    """The upload arrives byte by byte; its task is in the ledger with the 202, and is run."""
    answer = api.send("POST", "/files", files={"file": ("a.bin", BINARY)})

    assert answer.status_code == 202
    task_id = answer.headers["Location"].removeprefix("/tasks/")
    task = json.loads(api.read(f"tasks/{task_id}/task.json"))
    assert (task["id"], task["function"]) == (task_id, "app.files.summarise")
    assert api.read(task["arguments"]["key"]) == BINARY
    api.until(rf"^task {task_id} app\.files\.summarise SUCCEEDED")
    status = api.send("GET", f"/tasks/{task_id}").json()
    assert status["result"]["sha256"] == hashlib.sha256(BINARY).hexdigest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it_with_its_containers(
    start: Callable[[], Api], number: signal.Signals
) -> None:
    """After SIGTERM (or Ctrl-C) no container is left, and not even after SIGKILL."""
    api = start()
    assert api.send("GET", "/health").status_code == 200
    assert api.containers()

    status, _ = api.end(number)

    assert status == (0 if number is signal.SIGTERM else -number)
    assert not api.containers()


def test_not_even_a_killed_sam_cli_leaves_a_container(start: Callable[[], Api]) -> None:
    """What SAM CLI did not remove itself is gone when `make run-sam` has ended."""
    api = start()
    assert api.send("GET", "/health").status_code == 200
    commands = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        for pid in descendants(api.process.pid)
    }
    (sam,) = (pid for pid, words in commands.items() if words[1].endswith(b"/sam"))

    os.kill(sam, signal.SIGKILL)
    status, _ = api.wait()

    assert status
    assert not api.containers()
