"""What the worker says to SQS beside its batch response: when to try again, and what to bury."""

from __future__ import annotations

import json
import random
from threading import Lock
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from handler.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_BACKOFF_SECONDS = 900
MARK = "afterword"


class Queue:
    """The task queue and its dead-letter queue.

    boto3, which Lambda's runtime brings, is imported when something has failed: a success needs
    none of this.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: SQSClient | None = None
        self._lock = Lock()

    @property
    def _sqs(self) -> SQSClient:
        # Several messages of a batch may fail at once, each in a thread, and the session that
        # boto3 makes clients with is not made for threads.
        with self._lock:
            if self._client is None:
                import boto3  # noqa: PLC0415

                # boto3 itself reads AWS_DEFAULT_REGION only.
                self._client = boto3.client("sqs", region_name=self._settings.region)
            return self._client

    async def retry_in(self, record: dict[str, Any], seconds: float) -> None:
        """Show a message again after about ``seconds``, instead of after its visibility timeout."""
        await anyio.to_thread.run_sync(
            lambda: self._sqs.change_message_visibility(
                QueueUrl=self._settings.queue_url or "",
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=max(1, round(min(seconds, LONGEST_BACKOFF_SECONDS))),
            )
        )

    async def bury(self, record: dict[str, Any], rounds: int) -> None:
        """Send a message to the dead-letter queue, marked with what redriving it will undo."""
        body = json.dumps({**json.loads(record["body"]), MARK: {"rounds": rounds}})
        await anyio.to_thread.run_sync(
            lambda: self._sqs.send_message(
                QueueUrl=self._settings.dead_letter_queue_url or "", MessageBody=body
            )
        )

    def backoff(self, attempts: int) -> float:
        """Return how long to wait after so many attempts: doubling, with jitter, in seconds."""
        return float(self._settings.backoff * 2 ** (attempts - 1) * random.uniform(0.75, 1.25))  # noqa: S311
