"""The batches in events/worker/ are what Lambda delivers, and the worker knows what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import durables
import pytest
from conftest import REGION, Cloud, Context

import events
from handler.environment import Environment
from handler.ledger import Task
from handler.settings import Settings
from handler.worker import Worker
from local.sqs_event import record_for

NAMES = events.names("worker/")
FIRST, SECOND = "019ab6f1-3d2c-7c41-a6f0-5b9d2e8c1a47", "019ab6f1-3d2d-7f08-8e13-c40a7d96b2f5"

# The tasks that each batch names, and the place of the record that comes back, if any.
EXPECTED: dict[str, tuple[set[str], list[int]]] = {
    "worker/encoded-key": ({FIRST}, []),
    "worker/malformed-body": (set(), [0]),
    "worker/malformed-body-and-task": ({FIRST}, [0]),
    "worker/one-task": ({FIRST}, []),
    "worker/other-key": (set(), [0]),
    "worker/received-again": ({FIRST}, []),
    "worker/test-event": (set(), []),
    "worker/two-tasks": ({FIRST, SECOND}, []),
}


@pytest.fixture
def worker(cloud: Cloud, sqs: Any, tmp: Any) -> Iterator[Callable[..., Any]]:
    """The worker, of whose tasks there are both that the batches name, neither run yet."""
    for task_id in (FIRST, SECOND):
        task = Task(
            id=task_id,
            function="durables.double",
            arguments={"number": 21},
            attempts=3,
            created_at="2025-11-24T16:00:00.000Z",
        )
        body = json.dumps({name: getattr(task, name) for name in task.__slots__}).encode()
        cloud.s3.put_object(Bucket=cloud.bucket, Key=f"tasks/{task_id}/task.json", Body=body)
        cloud.s3.delete_object(Bucket=cloud.bucket, Key=f"tasks/{task_id}/state.json")
    settings = Settings(
        bucket=cloud.bucket,
        s3_endpoint=cloud.endpoint,
        queue_url=sqs.url,
        dead_letter_queue_url=sqs.dead_url,
        region=REGION,
    )
    environment = Environment(durables.app, settings, worker=True)
    yield Worker(environment).handle
    environment.close()


def test_every_batch_has_its_expectation() -> None:
    """No file of events/worker/ is left out below."""
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_as_lambda_shapes_it(name: str) -> None:
    """The names are those that local/ gives a record too, and the digest is the body's."""
    message = {"MessageId": "", "ReceiptHandle": "", "Body": "", "MD5OfBody": ""}

    for record in events.load(name)["Records"]:
        assert record.keys() == record_for(message, "", "").keys()
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_the_worker_runs_the_tasks_of_a_batch(
    worker: Callable[..., Any], cloud: Cloud, name: str
) -> None:
    """Tasks are run, S3's test is taken, and only what is neither comes back."""
    tasks, failed = EXPECTED[name]
    event = events.load(name)

    response = worker(event, Context())

    keys = cloud.s3.list_objects_v2(Bucket=cloud.bucket, Prefix="tasks/")["Contents"]
    states = {
        task_id: json.loads(cloud.body(f"tasks/{task_id}/state.json"))["status"]
        for task_id in (FIRST, SECOND)
        if f"tasks/{task_id}/state.json" in {each["Key"] for each in keys}
    }
    assert states == dict.fromkeys(tasks, "SUCCEEDED")
    ids = [event["Records"][place]["messageId"] for place in failed]
    assert [each["itemIdentifier"] for each in response["batchItemFailures"]] == ids
