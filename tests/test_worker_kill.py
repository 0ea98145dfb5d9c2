"""Promise 7, when workers are killed: no accepted task is lost, each result is recorded once."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import durables
import pytest
from conftest import REGION, Cloud, Context
from queueing import ids, post

from local.event_source_mapping import Batch, EventSourceMapping

pytestmark = pytest.mark.long

TASKS, KILLS = 200, 50
TIMEOUT = 3
# Longer than any lease: the worker's timeout and a second.
VISIBILITY = 5


def test_tasks_survive_the_death_of_their_workers(
    cloud: Cloud,
    make_handler: Callable[..., Any],
    make_runtime: Callable[..., Any],
    sqs: Any,
    tmp_path: Path,
    capsys: Any,
) -> None:
    """50 kills over 200 tasks: all end SUCCEEDED; how often an effect came twice is printed."""
    bucket = f"test-{uuid.uuid4()}"
    cloud.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    attributes = {"VisibilityTimeout": str(VISIBILITY)}
    sqs.client.set_queue_attributes(QueueUrl=sqs.url, Attributes=attributes)
    arn = sqs.client.get_queue_attributes(QueueUrl=sqs.url, AttributeNames=["QueueArn"])
    rule = {"Name": "suffix", "Value": "/task.json"}
    queue = {
        "QueueArn": arn["Attributes"]["QueueArn"],
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [rule]}},
    }
    cloud.s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [queue]}
    )
    api = make_handler(durables.app, bucket=bucket)
    accepted = {}
    for number in range(TASKS):
        (task_id,) = ids(api(post(f"/effect/{number}", f"folder={tmp_path}"), Context()))
        accepted[task_id] = str(number)

    environ = {
        "BUCKET": bucket,
        "QUEUE_URL": sqs.url,
        "DEAD_LETTER_QUEUE_URL": sqs.dead_url,
        "RETRY_BACKOFF_SECONDS": "1",
    }
    runtime = make_runtime(
        "durable_function.work", environ=environ, timeout=TIMEOUT, max_environments=2
    )
    progress = threading.Condition()

    deleted: set[str] = set()

    def note(batch: Batch) -> None:
        gone = [each for each in batch.records if each["messageId"] not in batch.failures]
        with progress:
            deleted.update(
                task_id for task_id in accepted for each in gone if task_id in each["body"]
            )
            progress.notify_all()

    def states() -> dict[str, Any]:
        found = {}
        for task_id in accepted:
            key = f"tasks/{task_id}/state.json"
            try:
                found[task_id] = json.loads(
                    cloud.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                )
            except cloud.s3.exceptions.NoSuchKey:
                found[task_id] = {"status": "QUEUED"}
        return found

    moments = random.Random(4)
    with EventSourceMapping(
        cloud.environ, sqs.url, runtime, batch_size=2, concurrency=2, on_batch=note
    ):
        for _ in range(KILLS):
            time.sleep(moments.uniform(0.4, 1.2))  # the moment is the test
            runtime.kill()
        with progress:
            assert progress.wait_for(lambda: deleted == accepted.keys(), timeout=120)

    ended = states()
    assert Counter(state["status"] for state in ended.values()) == {"SUCCEEDED": TASKS}
    assert {task_id: state["result"] for task_id, state in ended.items()} == accepted
    runs = {name: (tmp_path / name).read_text().count("\n") for name in accepted.values()}
    assert min(runs.values()) == 1
    # Otherwise the kills hit nothing.
    assert sum(state["attempts"] for state in ended.values()) > TASKS
    with capsys.disabled():
        twice = sum(count > 1 for count in runs.values())
        again = sum(state["attempts"] > 1 for state in ended.values())
        print(f"\n{TASKS} tasks, {KILLS} kills: {again} were attempted again, {twice} ran twice")  # noqa: T201
