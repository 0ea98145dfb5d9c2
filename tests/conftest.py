"""Shared by all tests: moto's S3 over HTTP, invocations of a handler, and what they left in S3."""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from local.runtime import Runtime

# So that what their assertions compare is shown when one fails.
pytest.register_assert_rewrite("expectations")

# A shell has what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
REGION = "eu-central-1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a machine that has Docker, such as CI's, not pass by skipping what needs it."""
    parser.addoption(
        "--require-docker",
        action="store_true",
        help="fail where sam local cannot run, instead of skipping its tests",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start what takes longest first: no worker is then left with it when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have captured output be text that pytest-xdist can send, though tests log half characters."""
    report = yield
    report.sections = [
        (name, content.encode(errors="backslashreplace").decode())
        for name, content in report.sections
    ]
    return report


@dataclass
class Context:
    """What Lambda passes to a handler beside the event."""

    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    remaining: float = 20.0

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left before the function times out."""
        return int(self.remaining * 1000)


@dataclass(frozen=True)
class Cloud:
    """moto's server, a bucket in it, and the variables with which a function finds both."""

    endpoint: str
    bucket: str
    s3: Any

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of a function that uses this bucket."""
        return {
            "BUCKET": self.bucket,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def objects(self, request_id: str) -> list[str]:
        """Return the keys of the log objects of one invocation."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="log/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return [key for key in keys if request_id in key]

    def records(self, request_id: str) -> list[dict[str, Any]]:
        """Return the log records of one invocation, in order, from however many objects."""
        return [record for key in self.objects(request_id) for record in self.lines(key)]

    def lines(self, key: str) -> list[dict[str, Any]]:
        """Return the records of one object."""
        return [json.loads(line) for line in self.body(key).decode().split("\n")[:-1]]

    def messages(self, request_id: str) -> list[str]:
        """Return the messages of one invocation's records, in order."""
        return [record["message"] for record in self.records(request_id)]

    def outcomes(self, request_id: str) -> list[tuple[str, str]]:
        """Return each recorded outcome of a task: the function's name, the status."""
        return [
            (record["task"].rpartition(".")[2], record["status"])
            for record in self.records(request_id)
            if "status" in record
        ]

    def body(self, key: str) -> bytes:
        """Return an object's content."""
        content: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A bucket of this test run's own; the variables that lead there are set for the whole run."""
    # moto's server runs in this process and must not write into the log of the code under test.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    made = Cloud(endpoint, f"test-{uuid.uuid4()}", s3)
    s3.create_bucket(Bucket=made.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "POWERTOOLS_"))]:
            patch.delenv(name)
        for name, value in made.environ.items():
            patch.setenv(name, value)
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
        yield made
    server.stop()


@pytest.fixture
def tmp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for this execution environment's ``/tmp``."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_handler(cloud: Cloud, tmp: Path) -> Iterator[Callable[..., Any]]:
    """A factory of handlers for any ASGI app, each in an execution environment of its own."""
    from handler.api import Api
    from handler.environment import Environment
    from handler.settings import Settings

    made: list[Environment] = []

    def make(app: Any, **settings: Any) -> Callable[[Any, Any], dict[str, Any]]:
        settings = {"bucket": cloud.bucket, "s3_endpoint": cloud.endpoint, **settings}
        made.append(Environment(app, Settings(**settings)))
        return Api(app, made[-1]).handle

    yield make
    for environment in made:
        environment.close()


@pytest.fixture(scope="session")
def handler(cloud: Cloud) -> Callable[[Any, Any], dict[str, Any]]:
    """The function as it is deployed: ``handler.api.handler``."""
    from handler.api import handler as deployed

    return deployed


@pytest.fixture
def make_runtime(cloud: Cloud) -> Iterator[Callable[..., Runtime]]:
    """A factory of Lambda runtimes, by default for the tests' function (``function.py``)."""
    with ExitStack() as stack:

        def make(handler: str = "function.handler", **options: Any) -> Runtime:
            environ = cloud.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
            environ |= options.pop("environ", {})
            runtime = Runtime(handler, environ, cwd=ROOT / "tests", **options)
            return stack.enter_context(runtime)

        yield make


@pytest.fixture
def sqs(cloud: Cloud) -> Any:
    """Queues of this test's own."""
    from queueing import Sqs

    return Sqs(cloud.endpoint)


@pytest.fixture
def work(cloud: Cloud, sqs: Any, tmp: Path) -> Iterator[Callable[..., list[str]]]:
    """A worker that is given messages, and returns the bodies of those that come again."""
    import durables

    from handler.environment import Environment
    from handler.settings import Settings
    from handler.worker import Worker

    settings = Settings(
        bucket=cloud.bucket,
        s3_endpoint=cloud.endpoint,
        queue_url=sqs.url,
        dead_letter_queue_url=sqs.dead_url,
        region=REGION,
        deadline_reserve=0.5,
    )
    environment = Environment(durables.app, settings, worker=True)
    worker = Worker(environment)

    def run(*bodies: str, context: Context | None = None) -> list[str]:
        event = sqs.deliver(*bodies)
        response = worker.handle(event, context or Context())
        failed = {each["itemIdentifier"] for each in response["batchItemFailures"]}
        return [each["body"] for each in event["Records"] if each["messageId"] in failed]

    yield run
    environment.close()


@pytest.fixture
def context() -> Context:
    """The context of one invocation, with a request id of its own."""
    return Context()
