"""The event source mapping in local/: a queue invokes a function as Lambda's own does."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from conftest import Cloud

from local.clients import client_for
from local.event_source_mapping import EventSourceMapping, failed_ids
from local.redrive import move_messages
from local.runtime import Runtime

PROMPT = 20.0  # seconds that nothing here takes, so that a fault is a failure and not a hang
VISIBILITY_TIMEOUT = 1  # seconds

# What becomes of a message is its body; the folder gets a file for each invocation.
WORKER = """
    import json, os, pathlib, time

    FOLDER = pathlib.Path(__file__).parent

    def handler(event, context):
        (FOLDER / f"{time.time_ns()}.event").write_text(json.dumps(event))
        bodies = {record["messageId"]: record["body"] for record in event["Records"]}
        if "raise" in bodies.values():
            raise ValueError("no")
        if "exit" in bodies.values():
            os._exit(1)
        if "wait" in bodies.values():
            time.sleep(60)
        mended = (FOLDER / "mended").exists()
        failed = [key for key, body in bodies.items() if body == "fail" and not mended]
        return {"batchItemFailures": [{"itemIdentifier": key} for key in failed]}
"""


@dataclass
class Source:
    """A queue with its dead-letter queue, and a function."""

    cloud: Cloud
    sqs: Any
    url: str
    dead_url: str
    runtime: Runtime
    folder: Path

    def mapping(self, **options: Any) -> EventSourceMapping:
        """Make the mapping of the queue to the function."""
        return EventSourceMapping(self.cloud.environ, self.url, self.runtime, **options)

    def send(self, *bodies: str) -> None:
        """Send messages."""
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    def events(self) -> list[Any]:
        """Return the events that the function got, in their order."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.event"))]

    def received(self) -> list[str]:
        """Return the body of each message that the function got, as often as it did."""
        return [record["body"] for event in self.events() for record in event["Records"]]

    def left(self, url: str | None = None) -> int:
        """Return how many messages are in a queue, by default the one of the mapping."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        got = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)
        return sum(map(int, got["Attributes"].values()))

    def arn(self, url: str) -> str:
        """Return the ARN of a queue."""
        got = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn: str = got["Attributes"]["QueueArn"]
        return arn


@pytest.fixture
def source(cloud: Cloud, tmp_path: Path) -> Iterator[Source]:
    """A queue that gives a message up after two receives, and a function with two environments."""
    sqs = client_for("sqs", cloud.environ)
    name = f"test-{uuid.uuid4()}"
    dead_url = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    (tmp_path / "worker.py").write_text(dedent(WORKER))
    with ExitStack() as stack:
        runtime = stack.enter_context(Runtime("worker.handler", cwd=tmp_path, max_environments=2))
        made = Source(cloud, sqs, "", dead_url, runtime, tmp_path)
        redrive = {"deadLetterTargetArn": made.arn(dead_url), "maxReceiveCount": 2}
        attributes = {
            "VisibilityTimeout": str(VISIBILITY_TIMEOUT),
            "RedrivePolicy": json.dumps(redrive),
        }
        made.url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        yield made


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    reached = threading.Event()
    for _ in range(int(PROMPT / 0.02)):
        if condition():
            return
        reached.wait(0.02)
    pytest.fail("waited in vain")


def test_a_message_invokes_the_function_and_is_deleted(source: Source) -> None:
    """What the function does not report as failed is gone."""
    source.send("succeed")
    with source.mapping() as mapping:
        until(lambda: bool(mapping.invocations))
    (batch,) = mapping.invocations
    assert (batch.failures, batch.error, batch.report.status) == (frozenset(), None, "ok")
    assert source.received() == ["succeed"]
    assert source.left() == 0


def test_the_event_is_as_lambda_shapes_it(source: Source) -> None:
    """A record has the names that Lambda documents, and only those."""
    attribute = {"DataType": "String", "StringValue": "value"}
    binary = {"DataType": "Binary", "BinaryValue": b"\0"}
    source.sqs.send_message(
        QueueUrl=source.url, MessageBody="a", MessageAttributes={"name": attribute, "b": binary}
    )
    with source.mapping() as mapping:
        until(lambda: bool(mapping.invocations))
    (event,) = source.events()
    (record,) = event["Records"]
    assert record.pop("messageId")
    assert record.pop("receiptHandle")
    attributes = record.pop("attributes")
    assert attributes.pop("SenderId")
    assert attributes.pop("SentTimestamp").isdigit()
    assert attributes.pop("ApproximateFirstReceiveTimestamp").isdigit()
    assert attributes == {"ApproximateReceiveCount": "1"}
    lists = {"stringListValues": [], "binaryListValues": []}
    assert record == {
        "body": "a",
        "md5OfBody": "0cc175b9c0f1b6a831c399e269772661",
        "messageAttributes": {
            "name": {**lists, "dataType": "String", "stringValue": "value"},
            "b": {**lists, "dataType": "Binary", "binaryValue": "AA=="},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": source.arn(source.url),
        "awsRegion": source.cloud.environ["AWS_REGION"],
    }


def test_batches_are_no_larger_than_asked_for(source: Source) -> None:
    """Five messages are two batches of at most three."""
    source.send(*"abcde")
    with source.mapping(batch_size=3) as mapping:
        until(lambda: sum(len(batch.records) for batch in mapping.invocations) == 5)
    assert sorted(len(event["Records"]) for event in source.events()) == [2, 3]
    assert source.left() == 0


def test_only_the_reported_message_comes_back(source: Source) -> None:
    """Of a batch, what succeeded is deleted; what failed is received again, and counted."""
    source.send("a", "fail", "b")
    with source.mapping() as mapping:
        until(lambda: len(mapping.invocations) == 2)
    first, second = source.events()
    assert [record["body"] for record in first["Records"]] == ["a", "fail", "b"]
    (again,) = second["Records"]
    assert again["body"] == "fail"
    assert again["attributes"]["ApproximateReceiveCount"] == "2"
    assert mapping.invocations[0].failures == {again["messageId"]}


def test_a_failed_message_waits_for_its_visibility_timeout(source: Source) -> None:
    """It is not offered again at once."""
    source.send("fail")
    with source.mapping() as mapping:
        until(lambda: len(mapping.invocations) == 2)
    _, second = sorted(source.folder.glob("*.event"))
    (record,) = json.loads(second.read_text())["Records"]
    received = int(record["attributes"]["ApproximateFirstReceiveTimestamp"])  # milliseconds
    # The function itself may have started later; the time runs from the receipt.
    assert int(second.stem) / 1e6 - received >= VISIBILITY_TIMEOUT * 1e3


@pytest.mark.parametrize(
    ("body", "error_type"), [("raise", "ValueError"), ("exit", "Runtime.ExitError")]
)
def test_the_whole_batch_of_a_failed_function_comes_back(
    source: Source, body: str, error_type: str
) -> None:
    """A function error, of whatever kind, says nothing of single messages: none is deleted."""
    source.send("a", body)
    with source.mapping() as mapping:
        until(lambda: bool(mapping.invocations))
    (batch, *_) = mapping.invocations
    assert batch.error
    assert batch.error.error_type == error_type
    assert {record["body"] for record in batch.records} == {"a", body}
    assert len(batch.failures) == 2
    assert source.left() == 2


def test_two_batches_run_at_the_same_time(source: Source) -> None:
    """One batch that takes long does not keep the other messages waiting."""
    source.send("wait")
    with source.mapping(batch_size=1, concurrency=2) as mapping:
        until(lambda: source.received() == ["wait"])
        source.send("a")
        until(lambda: bool(mapping.invocations))
    assert [record["body"] for record in mapping.invocations[0].records] == ["a"]


def test_closing_does_not_wait_for_a_batch(source: Source) -> None:
    """The end comes at once; the messages of a batch that was running stay in the queue."""
    source.send("wait")
    with source.mapping() as mapping:
        until(lambda: source.received() == ["wait"])
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    assert mapping.invocations == []
    assert source.left() == 1


def test_each_batch_is_told(source: Source) -> None:
    """`on_batch` gets a batch after what succeeded was deleted."""
    told: list[tuple[list[str], int]] = []

    def on_batch(batch: Any) -> None:
        told.append(([record["body"] for record in batch.records], source.left()))

    source.send("a")
    with source.mapping(on_batch=on_batch):
        until(lambda: bool(told))
    assert told == [(["a"], 0)]


def test_a_message_ends_in_the_dead_letter_queue(source: Source) -> None:
    """After as many receives as the redrive policy allows, SQS delivers it there instead."""
    source.send("fail")
    with source.mapping():
        until(lambda: source.left(source.dead_url) == 1)
    assert source.received() == ["fail", "fail"]
    assert source.left() == 0


def test_a_redriven_message_is_a_new_one(source: Source) -> None:
    """Moved back after the fix, a message is delivered anew, its receives counted from one."""
    source.send("fail")
    with source.mapping() as mapping:
        until(lambda: source.left(source.dead_url) == 1)
        (source.folder / "mended").touch()
        assert move_messages(source.cloud.environ, source.dead_url, source.url) == 1
        until(lambda: len(mapping.invocations) == 3)
    (record,) = source.events()[-1]["Records"]
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert (source.left(), source.left(source.dead_url)) == (0, 0)


def test_the_bucket_says_that_it_will_notify(source: Source) -> None:
    """S3 sends s3:TestEvent when the notification is set up, then one message for each object."""
    s3 = source.cloud.s3
    bucket = f"test-{uuid.uuid4()}"
    region = {"LocationConstraint": source.cloud.environ["AWS_REGION"]}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
    queue = {"QueueArn": source.arn(source.url), "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    with source.mapping(concurrency=1) as mapping:
        until(lambda: len(mapping.invocations) == 1)
        s3.put_object(Bucket=bucket, Key="tasks/1/task.json", Body=b"{}")
        until(lambda: len(mapping.invocations) == 2)
    test, notification = map(json.loads, source.received())
    assert test["Event"] == "s3:TestEvent"
    assert notification["Records"][0]["s3"]["bucket"]["name"] == bucket


@pytest.mark.parametrize(
    "response",
    [None, {}, {"batchItemFailures": None}, {"batchItemFailures": []}],
)
def test_an_empty_response_is_a_success(response: Any) -> None:
    """Lambda takes every kind of nothing for the success of the whole batch."""
    assert failed_ids(response, {"a", "b"}) == set()


@pytest.mark.parametrize(
    "response",
    [
        "done",
        ["a"],
        {"batchItemFailures": ["a"]},
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        {"batchItemFailures": [{"id": "a"}]},
        {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "unknown"}]},
        {"batchItemFailures": 1},
    ],
)
def test_a_response_that_makes_no_sense_fails_the_batch(response: Any) -> None:
    """A bad key, an empty or an unknown id: nothing is deleted that might have failed."""
    assert failed_ids(response, {"a", "b"}) == {"a", "b"}
