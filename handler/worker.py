"""The Lambda function behind the queue: ``handler.worker.handler``."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from handler import startup  # noqa: F401 - it has a say in how FastAPI is imported

# isort: split
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from mangum.types import ASGI, LambdaContext

from app.log import logger
from handler.attempt import Attempt
from handler.environment import Environment
from handler.errors import MalformedMessage, TaskFailed, UnsupportedEvent
from handler.event_source import describe
from handler.invocation import Invocation
from handler.queue import MARK, Queue
from handler.settings import Settings

Handler = Callable[[Any, LambdaContext], dict[str, Any]]

handler: Handler

_KEY = re.compile(r"tasks/([0-9a-f-]{36})/task\.json")


class Worker:
    """Runs the durable tasks that the queue announces, in one execution environment."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._queue = Queue(environment.settings)

    def handle(self, event: Any, context: LambdaContext) -> dict[str, Any]:
        """Run one batch and report the items that have to come again.

        Raises UnsupportedEvent for what is no SQS batch.
        """
        if describe(event) != "an SQS batch":
            raise UnsupportedEvent(
                f"this handler takes SQS batches; this event is {describe(event)}"
            )
        batch = Batch(self._environment, self._queue, event["Records"])
        self._environment.invoke(context, batch)
        # Powertools builds the response; what each record came to is known by now.
        response: Any = process_partial_response(
            event=event,
            record_handler=batch.report,
            processor=BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False),
            context=context,  # type: ignore[arg-type]
        )
        return dict(response)


class Batch:
    """The messages of one invocation, each by itself."""

    def __init__(
        self, environment: Environment, queue: Queue, records: list[dict[str, Any]]
    ) -> None:
        self._environment = environment
        self._queue = queue
        self._records = records
        # A record of which nothing is known has to come again.
        self._failures: dict[str, Exception | None] = {
            record["messageId"]: TaskFailed("it was not done in time") for record in records
        }

    async def run(self, invocation: Invocation) -> None:
        """Run all tasks of the batch, at the same time."""
        await asyncio.gather(*(self._process(record, invocation) for record in self._records))

    def abandon(self) -> None:
        """Leave what is not done to the queue."""

    def report(self, record: SQSRecord) -> None:
        """Raise what a record came to, if it failed."""
        if failure := self._failures[record.message_id]:
            raise failure

    async def _process(self, record: dict[str, Any], invocation: Invocation) -> None:
        try:
            for task_id, rounds in _tasks(record):
                attempt = Attempt(self._environment, self._queue, record, invocation)
                await attempt.make(task_id, rounds)
        except TaskFailed as failure:
            self._failures[record["messageId"]] = failure
        except Exception as error:  # noqa: BLE001 - one message must not fail the others
            logger.exception("message %s not processed", record["messageId"])
            self._failures[record["messageId"]] = error
        else:
            self._failures[record["messageId"]] = None


def _tasks(record: dict[str, Any]) -> list[tuple[str, int | None]]:
    """Return the ids of a message's tasks, each with the mark of the dead-letter queue, if any."""
    try:
        body = json.loads(record["body"])
        if body.get("Event") == "s3:TestEvent":  # S3 sends it when the notification is set up
            return []
        keys = [unquote_plus(each["s3"]["object"]["key"]) for each in body["Records"]]
        matches = [_KEY.fullmatch(key) for key in keys]
        rounds = body.get(MARK, {}).get("rounds")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedMessage(f"no S3 notification: {record['body']!r:.200}") from error
    if not all(matches):
        raise MalformedMessage(f"no task among the keys {keys!r:.200}")
    return [(match[1], rounds) for match in matches if match]


def make_handler(app: ASGI, settings: Settings | None = None) -> Handler:
    """Return a worker that runs an application's lifespan and its registered functions.

    Raises SettingsError and LifespanFailed, which end init with their message.
    """
    environment = Environment(app, settings or Settings.from_environ(os.environ), worker=True)
    return Worker(environment).handle


def __getattr__(name: str) -> Handler:
    # As in handler/api.py.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from app.main import app  # noqa: PLC0415

    made = globals()[name] = make_handler(app)
    return made
