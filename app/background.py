"""Runs background tasks in order, isolated from each other and bounded by a deadline."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import anyio
import anyio.to_thread
from starlette.background import BackgroundTask

from app.log import logger
from app.names import name_of

Status = Literal["succeeded", "failed", "timed out", "not started", "handed off"]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one background task ended."""

    task: str
    status: Status
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """One run of a task's function, seen from outside of it."""

    task: str
    started: bool = False
    ended: bool = False
    error: BaseException | None = None
    result: Any = None
    status: Status | None = None
    reason: str | None = None
    future: asyncio.Future[Any] | None = None

    def end(self, _: object = None) -> None:
        """Take note that it has come to its end; also as a future's callback."""
        self.ended = True

    @property
    def running(self) -> bool:
        """Whether the function has begun and has not come to its end."""
        return self.started and not self.ended


@dataclass(slots=True)
class TaskRunner:
    """Runs the background tasks of one request, one after another.

    ``deadline`` is a time of the running loop's clock, in seconds; without one, a task may take as
    long as it likes. A task that is cancelled has ``clean_up`` seconds to end. Every outcome is
    appended to ``outcomes`` and recorded in the log; a run that could not be stopped is appended to
    ``abandoned``.
    """

    deadline: float = math.inf
    clean_up: float = 0.2
    outcomes: list[Outcome] = field(default_factory=list)
    abandoned: list[Run] = field(default_factory=list)

    async def run(self, task: BackgroundTask) -> Run:
        """Run one task to its end or its limit; nothing that it raises reaches the caller."""
        run = Run(name_of(task.func))
        limit = self._limit(task.func)
        if limit is not None and limit <= 0:
            self._end(run, "not started", "no time was left before the deadline")
            return run
        started = time.perf_counter()
        try:
            if task.is_async:
                await _run_on_the_loop(task, run, limit)
            else:
                await _run_in_a_thread(task, run, limit)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self._stop(run, started, "its request was cancelled")
            raise
        if run.error is not None and not run.started:
            self._end(run, "failed", f"it could not be run: {run.error!r}")
        elif not run.ended:
            await self._stop(run, started, f"it was not done after {limit:.3f} s")
        elif run.error is not None:
            self._end(run, "failed", repr(run.error), time.perf_counter() - started)
        else:
            self._end(run, "succeeded", None, time.perf_counter() - started)
        return run

    def _end(self, run: Run, status: Status, reason: str | None, seconds: float = 0.0) -> None:
        run.status, run.reason = status, reason
        self.record(run.task, status, reason, seconds, run.error)

    def _limit(self, function: Callable[..., Any]) -> float | None:
        own: float = getattr(function, "__time_limit__", math.inf)
        limit = min(own, self.deadline - asyncio.get_running_loop().time())
        return None if limit == math.inf else limit

    async def _stop(self, run: Run, started: float, reason: str) -> None:
        if run.future is not None:
            run.future.cancel()
            await asyncio.wait((run.future,), timeout=self.clean_up)
        seconds = time.perf_counter() - started
        if not run.started:
            self._end(run, "not started", f"no thread became free and {reason}")
            return
        if run.running:
            self.abandoned.append(run)
            reason += "; it runs on, abandoned"
        self._end(run, "timed out", reason, seconds)

    def record(
        self,
        task: str,
        status: Status,
        reason: str | None = None,
        seconds: float = 0.0,
        error: BaseException | None = None,
        task_id: str | None = None,
    ) -> None:
        """Take down how a task ended; a success only shows in the log at level DEBUG."""
        self.outcomes.append(Outcome(task, status, seconds))
        extra = {"task": task, "status": status, "duration_ms": round(seconds * 1000, 3)}
        if task_id is not None:
            extra["task_id"] = task_id
        if reason is None:
            logger.debug("background task %s", status, extra=extra)
        else:
            exc_info = (type(error), error, error.__traceback__) if error else None
            logger.error("background task %s: %s", status, reason, extra=extra, exc_info=exc_info)


async def _run_on_the_loop(task: BackgroundTask, run: Run, limit: float | None) -> None:
    # In a task of its own: it keeps its context variables and its cancellation to itself, and can
    # be left behind. It wakes this one itself: ``asyncio.wait`` would take a turn of the loop more.
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    # Not by the loop's create_task, which is for what the application starts.
    run.future = asyncio.Task(_contain_async(task, run, wake), loop=loop)
    run.future.add_done_callback(wake)  # of one that is cancelled before it has begun
    timer = None if limit is None else loop.call_later(limit, wake)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()
    if run.future.cancelled():
        run.error = asyncio.CancelledError()


async def _run_in_a_thread(task: BackgroundTask, run: Run, limit: float | None) -> None:
    try:
        with anyio.move_on_after(limit):
            await anyio.to_thread.run_sync(_contain, task, run, abandon_on_cancel=True)
    except Exception as error:  # noqa: BLE001 - no thread could be started
        run.error = error


# SystemExit and KeyboardInterrupt, let through, would stop the event loop and with it the execution
# environment; so everything ends in these two.


async def _contain_async(task: BackgroundTask, run: Run, wake: Callable[[], None]) -> None:
    run.started = True
    try:
        run.result = await task.func(*task.args, **task.kwargs)
    except BaseException as error:  # noqa: BLE001
        run.error = error
    run.ended = True
    wake()


def _contain(task: BackgroundTask, run: Run) -> None:
    run.started = True
    try:
        run.result = task.func(*task.args, **task.kwargs)
    except BaseException as error:  # noqa: BLE001
        run.error = error
    run.ended = True


def time_limit(seconds: float) -> Callable[[Function], Function]:
    """Bound a task function: it may run for ``seconds``, or to the deadline if that is earlier.

    Raises ValueError when ``seconds`` is not a positive number.
    """
    if not seconds > 0:
        raise ValueError(f"time_limit takes a positive number of seconds, not {seconds!r}")

    def mark(function: Function) -> Function:
        function.__time_limit__ = seconds  # type: ignore[attr-defined]
        return function

    return mark


runner: ContextVar[TaskRunner | None] = ContextVar("runner", default=None)
