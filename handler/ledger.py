"""Durable tasks as S3 objects.

``tasks/ID/task.json`` is written once, when the task is accepted; the bucket's event notification
for it is what queues the task. ``tasks/ID/state.json`` is what became of it, written by the worker
with conditional writes only. Several tasks of one request become valid together: all but the first
name the first as their leader, and the leader is written last.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from app.durable import Submission
from handler.errors import Conflict
from handler.store import Object, Store

T = TypeVar("T")

Status = Literal["QUEUED", "RUNNING", "SUCCEEDED", "FAILED"]

SECONDS = 5.0
"""How long one question to the ledger may take when nobody gives it a deadline."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A durable task as it was accepted."""

    id: str
    function: str
    arguments: dict[str, Any]
    attempts: int
    created_at: str
    leader: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What became of a task. ``rounds`` counts how often it has failed for good; ``buried`` says
    whether its message has reached the dead-letter queue since.
    """

    status: Status = "QUEUED"
    attempts: int = 0
    rounds: int = 0
    buried: bool = False
    owner: str | None = None
    lease_until: float = 0.0
    started_at: str | None = None
    finished_at: str | None = None
    result: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A task, its state, and the version of the state that was read."""

    task: Task
    state: State
    version: Object | None


class Ledger:
    """Reads and writes durable tasks. Every method raises StoreError when S3 does not answer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def accept(
        self, submissions: Sequence[Submission], request_id: str, *, again: bool = False
    ) -> list[str]:
        """Write tasks, all or none; return the ids of those that are new.

        When it raises, none of the new ones will run. A task that was accepted before stays as it
        is; ``again`` says that these may have been, or may have been left half accepted.
        """
        deadline = _soon()
        first, *others = submissions
        if again and others and await self._store.get(f"tasks/{first.id}/task.json", deadline):
            return []
        try:
            await _all(*(self._create(each, request_id, deadline, first.id) for each in others))
            is_new = await self._create(first, request_id, deadline)
        except BaseException:
            await self.cancel([each.id for each in submissions], request_id)
            raise
        return [each.id for each in submissions] if is_new else []

    async def read(self, task_id: str) -> Entry | None:
        """Return a task and its state; None when there is no such task."""
        if not _ID.fullmatch(task_id):
            return None
        deadline = _soon()
        task, version = await _all(
            self._store.get(f"tasks/{task_id}/task.json", deadline),
            self._store.get(f"tasks/{task_id}/state.json", deadline),
        )
        if task is None:
            return None
        state = _load(State, version) if version else State()
        return Entry(_load(Task, task), state, version)

    async def view(self, task_id: str) -> dict[str, Any] | None:
        """Return what a client may see of a task."""
        entry = await self.read(task_id)
        if entry is None:
            return None
        task, state = entry.task, entry.state
        return {
            "id": task.id,
            "function": task.function,
            "status": state.status,
            "attempts": state.attempts,
            "created_at": task.created_at,
            "started_at": state.started_at,
            "finished_at": state.finished_at,
            "result": state.result,
            "error": state.error,
        }

    async def is_committed(self, task: Task) -> bool:
        """Tell whether the request that wrote a task went on to accept it."""
        if task.leader is None:
            return True
        return await self._store.get(f"tasks/{task.leader}/task.json", _soon()) is not None

    async def write(self, entry: Entry, **changes: Any) -> Entry:
        """Change a task's state; raises Conflict when somebody else has changed it meanwhile."""
        state = replace(entry.state, **changes)
        # The owner makes the content unique, so that a write can be told from another's.
        body = json.dumps(asdict(state)).encode()
        e_tag = await self._store.put(
            f"tasks/{entry.task.id}/state.json",
            body,
            _soon(),
            replaces=entry.version,
            anew=entry.version is None,
        )
        return Entry(entry.task, state, Object(body, e_tag))

    async def claim(self, entry: Entry, lease_until: float) -> Entry:
        """Take a task for one more attempt, until ``lease_until`` (seconds since 1970)."""
        return await self.write(
            entry,
            status="RUNNING",
            attempts=entry.state.attempts + 1,
            owner=str(uuid.uuid4()),
            lease_until=lease_until,
            started_at=now(),
            finished_at=None,
            error=None,
        )

    async def _create(
        self, submission: Submission, request_id: str, deadline: float, leader: str | None = None
    ) -> bool:
        task = Task(
            id=submission.id,
            function=submission.durable.name,
            arguments=submission.arguments,
            attempts=submission.durable.attempts,
            created_at=now(),
            leader=leader,
            request_id=request_id,
        )
        body = json.dumps(asdict(task)).encode()
        # A follower that an earlier try left behind is written over: its message may be gone, and
        # the new one runs nothing that has been run.
        anew = leader is None
        try:
            await self._store.put(f"tasks/{task.id}/task.json", body, deadline, anew=anew)
        except Conflict:
            return False  # accepted before, by the same request or for the same upload
        return True

    async def cancel(self, ids: Sequence[str], request_id: str) -> None:
        """Delete those of these tasks that this request has written, as far as S3 answers.

        A follower that stays is not valid; a leader that stays was written unknown to the client.
        """
        await asyncio.gather(
            *(self._cancel(each, request_id) for each in ids), return_exceptions=True
        )

    async def _cancel(self, task_id: str, request_id: str) -> None:
        key = f"tasks/{task_id}/task.json"
        written = await self._store.get(key, _soon())
        if written is not None and json.loads(written.body)["request_id"] == request_id:
            await self._store.delete(key, _soon())


async def _all(*awaitables: Awaitable[T]) -> list[T]:
    """Wait for all of them, also when one raises: none may go on behind the others' backs."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _load(kind: type[T], written: Object) -> T:
    # Another version of this code, during a deployment, may have written more.
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: v for k, v in json.loads(written.body).items() if k in known})


def now() -> str:
    """Return the time as the ledger writes it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_id(text: str) -> bool:
    """Tell whether a text can be a task's id: a UUID of version 7, in lower case."""
    return _ID.fullmatch(text) is not None


def _soon() -> float:
    return asyncio.get_running_loop().time() + SECONDS


def has_live_lease(state: State) -> bool:
    """Tell whether a worker may still be running the task."""
    return state.status == "RUNNING" and time.time() < state.lease_until
