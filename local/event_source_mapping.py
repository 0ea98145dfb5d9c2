"""SQS in front of a function, as Lambda's event source mapping is in front of the deployed one.

    with EventSourceMapping(moto.environ, queue_url, runtime, batch_size=5):
        ...  # messages of the queue invoke the runtime's function

The redrive policy needs nothing here: SQS, and moto, move a message to the dead-letter queue
instead of delivering it once more.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Self

from local.clients import client_for
from local.invocation import FunctionError, Report
from local.runtime import Runtime
from local.sqs_event import record_for

# Lambda polls long. moto looks for messages whose visibility timeout has passed once in a second
# only, and nothing can cut a long poll of it short.
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Batch:
    """One invocation: the records in its event, and the ids of the messages that will come back.

    `error` is set when the function failed, and with it the whole batch.
    """

    records: list[dict[str, Any]]
    failures: frozenset[str]
    error: FunctionError | None
    report: Report


class EventSourceMapping:
    """Polls a queue and invokes a function, for as long as the `with` block lasts.

    What succeeded is deleted from the queue; what failed comes back after its visibility timeout.
    The function reports failed items (`ReportBatchItemFailures`).
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        queue_url: str,
        runtime: Runtime,
        *,
        batch_size: int = 10,
        concurrency: int = 2,
        on_batch: Callable[[Batch], object] = lambda _: None,
    ) -> None:
        """`environ` says where SQS is, as MotoServer.environ does.

        `on_batch` gets each batch when what succeeded is deleted, from another thread.
        """
        self._sqs = client_for("sqs", environ)
        self._region = environ["AWS_REGION"]
        self._queue_url = queue_url
        self._runtime = runtime
        self._batch_size = batch_size
        self._on_batch = on_batch
        self.invocations: list[Batch] = []
        self._closed: Future[None] = Future()
        # moto may deliver a message twice when it is asked twice at the same time.
        self._receiving = threading.Lock()
        self._pollers = [
            threading.Thread(target=self._poll, name=f"SQS poller {number}", daemon=True)
            for number in range(concurrency)
        ]

    def __enter__(self) -> Self:
        """Start polling; raises botocore's ClientError when there is no such queue."""
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["QueueArn"]
        )
        self._arn = attributes["Attributes"]["QueueArn"]
        for poller in self._pollers:
            poller.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once: the messages of batches that still run stay in the queue."""
        self._closed.set_result(None)
        for poller in self._pollers:
            poller.join()

    def _poll(self) -> None:
        while not self._closed.done():
            with self._receiving:
                records = self._receive()
                if not records:
                    wait([self._closed], timeout=_PAUSE_SECONDS)
            if records:
                self._invoke(records)

    def _receive(self) -> list[dict[str, Any]]:
        if self._closed.done():
            return []
        received = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=self._batch_size,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = received.get("Messages", [])
        return [record_for(message, self._arn, self._region) for message in messages]

    def _invoke(self, records: list[dict[str, Any]]) -> None:
        invocation = self._runtime.start({"Records": records})
        either: list[Future[Any]] = [invocation.ended, self._closed]
        wait(either, return_when=FIRST_COMPLETED)
        if not invocation.ended.done() or invocation.ended.cancelled():
            return
        ids = {record["messageId"] for record in records}
        error: FunctionError | None = None
        try:
            failures = failed_ids(invocation.response(0), ids)
        except FunctionError as raised:
            failures, error = ids, raised
        self._delete([record for record in records if record["messageId"] not in failures])
        batch = Batch(records, frozenset(failures), error, invocation.end(0))
        self.invocations.append(batch)
        self._on_batch(batch)

    def _delete(self, records: list[dict[str, Any]]) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": record["receiptHandle"]}
            for number, record in enumerate(records)
        ]
        if entries:
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)


def failed_ids(response: Any, ids: set[str]) -> set[str]:
    """Return which messages of a batch a function's response reports as failed.

    None for no response, {} and an empty list; all for a response that makes no sense ("Handling
    errors for an SQS event source in Lambda", developer guide).
    """
    if response is None:
        return set()
    try:
        reported = {item["itemIdentifier"] for item in response.get("batchItemFailures") or ()}
    except (AttributeError, KeyError, TypeError):
        return ids
    return ids if reported - ids else reported
