"""The batches in events/worker/ are what Lambda delivers, and the worker knows what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import durables
import pytest
from conftest import REGION, Cloud, Context
from expectations import BATCHES, OF_BATCHES, accept_tasks, assert_worked

import events
from handler.environment import Environment
from handler.settings import Settings
from handler.worker import Worker
from local.sqs_event import record_for


@pytest.fixture
def worker(cloud: Cloud, sqs: Any, tmp: Any) -> Iterator[Callable[..., Any]]:
    """The worker, of whose tasks there are both that the batches name, neither run yet."""
    accept_tasks(cloud.s3, cloud.bucket, "durables.double", {"number": 21})
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
    assert sorted(OF_BATCHES) == BATCHES


@pytest.mark.parametrize("name", BATCHES)
def test_a_record_is_as_lambda_shapes_it(name: str) -> None:
    """The names are those that local/ gives a record too, and the digest is the body's."""
    message = {"MessageId": "", "ReceiptHandle": "", "Body": "", "MD5OfBody": ""}

    for record in events.load(name)["Records"]:
        assert record.keys() == record_for(message, "", "").keys()
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode()).hexdigest()


@pytest.mark.parametrize("name", BATCHES)
def test_the_worker_runs_the_tasks_of_a_batch(
    worker: Callable[..., Any], cloud: Cloud, name: str
) -> None:
    """Tasks are run, S3's test is taken, and only what is neither comes back."""
    response = worker(events.load(name), Context())

    assert_worked(name, response, cloud.s3, cloud.bucket)
