"""One attempt at a durable task: claim it, run it, write what became of it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import datetime
from typing import Any

from aws_lambda_powertools.logging.formatter import set_context_keys
from pydantic_core import to_jsonable_python
from starlette.background import BackgroundTask

from app import durable
from app.background import Run, TaskRunner
from app.durable import Durable, NotDurable, registry
from app.log import logger
from handler.environment import Environment
from handler.errors import Conflict, TaskFailed
from handler.invocation import Invocation
from handler.ledger import Entry, has_live_lease, now
from handler.queue import Queue

LEASE_MARGIN_SECONDS = 1.0
"""How long a lease outlives Lambda's timeout, after which no worker can still be running."""
UNCOMMITTED_SECONDS = 60.0
"""How long a request may take from the first of its tasks to the one that makes them valid."""


class Attempt:
    """What a worker does about one task that a message announces.

    Raises TaskFailed when the message has to come again, StoreError when S3 does not answer.
    """

    def __init__(
        self, environment: Environment, queue: Queue, record: dict[str, Any], invocation: Invocation
    ) -> None:
        self._ledger = environment.ledger
        self._queue = queue
        self._record = record
        self._invocation = invocation

    async def make(self, task_id: str, rounds: int | None) -> None:
        """Run the task, unless it is done, somebody else's, or was never accepted.

        ``rounds`` is the mark of a message that comes back from the dead-letter queue.
        """
        durable.task_id.set(task_id)
        set_context_keys(task_id=task_id)  # type: ignore[arg-type]
        entry = await self._ledger.read(task_id)
        if entry is None:
            logger.warning("task %s was cancelled: its request was not accepted", task_id)
            return
        if not await self._is_committed(entry):
            return
        if entry.state.status == "FAILED" and rounds == entry.state.rounds:
            entry = await self._write(entry, status="QUEUED", attempts=0, buried=False)
        if entry.state.status == "SUCCEEDED":
            return
        if has_live_lease(entry.state):
            # Whoever holds it may still die: the message has to outlive the lease.
            await self._come_again(entry.state.lease_until - time.time() + 1, "it is being run")
        if entry.state.status == "FAILED" or entry.state.attempts >= entry.task.attempts:
            await self._bury(entry)
            return
        entry = await self._claim(entry)
        await self._run(entry)

    async def _is_committed(self, entry: Entry) -> bool:
        if await self._ledger.is_committed(entry.task):
            return True
        created = datetime.fromisoformat(entry.task.created_at).timestamp()
        if time.time() - created < UNCOMMITTED_SECONDS:
            await self._come_again(5, "its request has not accepted all of its tasks")
        logger.warning("task %s was cancelled: its request was not accepted", entry.task.id)
        return False

    async def _claim(self, entry: Entry) -> Entry:
        lease_until = self._invocation.lambda_timeout + LEASE_MARGIN_SECONDS
        try:
            return await self._ledger.claim(entry, lease_until)
        except Conflict:
            await self._come_again(lease_until - time.time(), "somebody else has just taken it")
            raise

    async def _run(self, entry: Entry) -> None:
        started = time.perf_counter()
        try:
            run = await self._call(_registered(entry.task.function), entry)
        except Exception as error:  # noqa: BLE001 - a failed attempt, whatever it is
            run = Run(entry.task.function, error=error, status="failed", reason=str(error))
            self._invocation.tasks.record(run.task, "failed", run.reason, error=error)
        seconds = time.perf_counter() - started
        if run.status == "succeeded":
            result = _plain(run.result)
            await self._finish(entry, status="SUCCEEDED", result=result, error=None)
            self._say(entry, "SUCCEEDED", seconds)
            return
        reason = run.reason or "unknown"
        if entry.state.attempts < entry.task.attempts:
            entry = await self._finish(entry, status="QUEUED", error=reason)
            self._say(entry, "QUEUED", seconds)
            await self._come_again(self._queue.backoff(entry.state.attempts), reason)
        await self._bury(entry, reason)

    async def _call(self, function: Durable, entry: Entry) -> Run:
        arguments = function.decode(entry.task.arguments)
        tasks = self._invocation.tasks
        deadline = tasks.deadline
        if function.timeout is not None:
            deadline = min(deadline, asyncio.get_running_loop().time() + function.timeout)
        runner = TaskRunner(deadline, tasks.clean_up, tasks.outcomes, tasks.abandoned)
        return await runner.run(BackgroundTask(function.function, **arguments))

    async def _bury(self, entry: Entry, reason: str | None = None) -> None:
        """Mark a task as failed for good, and send its message to the dead-letter queue."""
        if entry.state.status != "FAILED":
            error = reason or entry.state.error or "its worker did not come to an end"
            rounds = entry.state.rounds + 1
            entry = await self._finish(entry, status="FAILED", error=error, rounds=rounds)
            logger.error(
                "task failed for good after %s attempts: %s",
                entry.state.attempts,
                error,
                extra={"task": entry.task.function, "status": "FAILED"},
            )
        if not entry.state.buried:
            await self._queue.bury(self._record, entry.state.rounds)
            await self._write(entry, buried=True)

    async def _finish(self, entry: Entry, **changes: Any) -> Entry:
        return await self._write(entry, finished_at=now(), owner=None, lease_until=0.0, **changes)

    async def _write(self, entry: Entry, **changes: Any) -> Entry:
        try:
            return await self._ledger.write(entry, **changes)
        except Conflict:
            logger.warning("task %s was taken over; this outcome is dropped", entry.task.id)
            raise

    async def _come_again(self, seconds: float, reason: str) -> None:
        try:
            await self._queue.retry_in(self._record, seconds)
        except Exception as error:  # noqa: BLE001 - the queue's visibility timeout does it then
            logger.warning("visibility timeout not changed: %s", error)
        raise TaskFailed(reason)

    def _say(self, entry: Entry, status: str, seconds: float) -> None:
        logger.info(
            "durable task %s",
            status,
            extra={
                "task": entry.task.function,
                "status": status,
                "attempt": entry.state.attempts,
                "duration_ms": round(seconds * 1000, 3),
            },
        )


def _plain(result: Any) -> Any:
    """Return a result as JSON can hold it: whatever it is, the function has done its work."""
    try:
        plain = to_jsonable_python(result, fallback=repr)
        json.dumps(plain, allow_nan=False)
    except Exception:  # noqa: BLE001
        return repr(result)
    return plain


def _registered(name: str) -> Durable:
    # By registered name only: whatever a message says, nothing else can be run.
    if name not in registry:
        raise NotDurable(f"{name} is not registered here")
    return registry[name]
