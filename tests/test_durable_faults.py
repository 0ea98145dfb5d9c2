"""S3 fails at each single call of a durable task's path, one by one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import durables
import pytest
from conftest import REGION, Cloud, Context
from proxy_s3 import ProxyS3, proxy_s3
from queueing import ids, notification, post

from handler.environment import Environment
from handler.queue import Queue
from handler.settings import Settings
from handler.worker import Worker

MOST_CALLS = 25


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[ProxyS3]:
    """A proxy in front of moto."""
    with proxy_s3(cloud.endpoint) as made:
        yield made


@pytest.fixture
def worker(cloud: Cloud, proxy: ProxyS3, sqs: Any, tmp: Any) -> Iterator[Worker]:
    """A worker behind the proxy."""
    settings = Settings(
        bucket=cloud.bucket,
        s3_endpoint=proxy.endpoint,
        queue_url=sqs.url,
        dead_letter_queue_url=sqs.dead_url,
        region=REGION,
    )
    environment = Environment(durables.app, settings, worker=True)
    yield Worker(environment)
    environment.close()


def failed(response: dict[str, Any]) -> int:
    """Return how many messages come again."""
    return len(response["batchItemFailures"])


def test_the_clients_answer_and_the_ledger_agree(
    cloud: Cloud, proxy: ProxyS3, make_handler: Callable[..., Any], worker: Worker, sqs: Any
) -> None:
    """Whichever call of an acceptance fails: 202 and the tasks run, or 503 and none does."""
    handler = make_handler(durables.app, s3_endpoint=proxy.endpoint)
    answers = []
    for number in range(MOST_CALLS):
        proxy.calls.clear()
        proxy.deny = number
        event = post("/double/5", "times=2", idempotency_key=uuid.uuid4().hex)
        answer = handler(event, Context())
        proxy.deny = -1
        answers.append(answer["statusCode"])
        written = {
            call.split("/tasks/")[1].split("/")[0]
            for call in proxy.calls
            if call.startswith("PUT") and call.endswith("/task.json")
        }
        context = Context()
        if written:
            worker.handle(sqs.deliver(*map(notification, written)), context)
        runs = cloud.messages(context.aws_request_id).count("doubling 5")
        assert runs == (2 if answer["statusCode"] == 202 else 0), (number, proxy.calls)
        if number >= len(proxy.calls):
            break

    # Each failure of the acceptance was a 503; that of the log, and none at all, were not.
    assert answers[-1] == 202
    assert answers.count(503) >= 4


def test_a_task_is_run_to_its_end_whichever_call_of_the_worker_fails(
    cloud: Cloud, proxy: ProxyS3, make_handler: Callable[..., Any], worker: Worker, sqs: Any
) -> None:
    """The message comes again until the task is SUCCEEDED, and then no more."""
    api = make_handler(durables.app)
    for number in range(MOST_CALLS):
        (task_id,) = ids(api(post("/double/5"), Context()))
        proxy.calls.clear()
        proxy.deny = number
        again = failed(worker.handle(sqs.deliver(notification(task_id)), Context(remaining=3)))
        calls = len(proxy.calls)
        proxy.deny = -1
        if again:
            # A worker that could not write its result holds its lease until it must be dead.
            key = f"tasks/{task_id}/state.json"
            if cloud.s3.list_objects_v2(Bucket=cloud.bucket, Prefix=key)["KeyCount"]:
                state = json.loads(cloud.body(key)) | {"lease_until": 1.0}
                cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=json.dumps(state))
            assert failed(worker.handle(sqs.deliver(notification(task_id)), Context())) == 0
        state = json.loads(cloud.body(f"tasks/{task_id}/state.json"))
        assert (state["status"], state["result"]) == ("SUCCEEDED", {"doubled": 10}), number
        if number >= calls:
            break

    assert number >= 4


def test_a_failed_attempt_is_shown_again_before_its_visibility_timeout(
    make_handler: Callable[..., Any], worker: Worker, sqs: Any
) -> None:
    """The worker sets the backoff, here the shortest, instead of the queue's 30 s."""
    api = make_handler(durables.app)
    durables.failing.add("early")
    (task_id,) = ids(api(post("/fragile/early"), Context()))
    worker._queue._settings = Settings(bucket="b", queue_url=sqs.url, region=REGION, backoff=0.1)
    assert failed(worker.handle(sqs.deliver(notification(task_id)), Context())) == 1

    again = sqs.client.receive_message(QueueUrl=sqs.url, WaitTimeSeconds=10)["Messages"]

    assert task_id in again[0]["Body"]


@pytest.mark.parametrize("attempts", [1, 2, 5, 9])
def test_the_backoff_doubles_with_jitter(attempts: int) -> None:
    """From RETRY_BACKOFF_SECONDS, a quarter less or more."""
    queue = Queue(Settings(bucket="b", backoff=4.0))
    waits = {queue.backoff(attempts) for _ in range(50)}

    assert all(0.75 <= wait / (4.0 * 2 ** (attempts - 1)) <= 1.25 for wait in waits)
    assert len(waits) > 1


def test_a_worker_whose_s3_hangs_returns_in_time_and_reports_its_messages(
    sqs: Any, tmp: Any
) -> None:
    """No answer from S3 is no Lambda timeout: the batch comes again, whole."""
    from faulty_s3 import FaultyS3

    s3 = FaultyS3(*["hang"] * 9)
    settings = Settings(bucket=s3.bucket, s3_endpoint=s3.endpoint, queue_url=sqs.url, region=REGION)
    environment = Environment(durables.app, settings, worker=True)
    try:
        task_id = "0190b6a0-0000-7000-8000-000000000000"
        event = sqs.deliver(notification(task_id))
        assert failed(Worker(environment).handle(event, Context(remaining=2))) == 1
    finally:
        environment.close()
        s3.close()
