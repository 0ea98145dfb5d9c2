"""One invocation: the request, its tasks, what it left running, its log, its metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from app import background, log
from app.background import Run, TaskRunner
from app.uploads import uploads
from handler import metrics

if TYPE_CHECKING:
    from handler.environment import Environment

# Shares of the reserve. A cancelled task may clean up for CLEAN_UP. An application that is still
# not done is cancelled with CUT left, and left behind with GIVE_UP left. The flush ends with PRINT
# left, in which the records that S3 did not take are printed.
CLEAN_UP, CUT, GIVE_UP, PRINT = 0.2, 0.5, 0.4, 0.1


class Work(Protocol):
    """What an invocation is for."""

    async def run(self, invocation: Invocation) -> None:
        """Do it, to the end of its tasks."""

    def abandon(self) -> None:
        """Answer for it although ``run`` cannot be stopped."""


class Invocation:
    """Runs one piece of work on the environment's loop, and finishes what it leaves.

    ``remaining`` is the time that Lambda leaves it, in seconds. ``responded`` is called when the
    work has its response, ``ended`` when there is nothing left to do; both on the loop's thread.
    """

    responded: Callable[[], None]
    ended: Callable[[], None]

    def __init__(self, environment: Environment, request_id: str, remaining: float) -> None:
        self.request_id = request_id
        self._environment = environment
        self._loop = environment.loop
        self._reserve = environment.settings.deadline_reserve
        self._end = self._loop.time() + remaining
        self.lambda_timeout = time.time() + remaining
        self._finishing = False
        self._spool = environment.log_store.open(request_id, time.time())
        self.tasks = TaskRunner(
            deadline=self._end - self._reserve, clean_up=CLEAN_UP * self._reserve
        )
        self._work: Work
        self.task: asyncio.Task[None]

    def start(self, work: Work) -> None:
        """Begin to serve; on the loop's thread, or before it runs."""
        # Not by the loop's create_task, which is for what the application starts.
        self.task = asyncio.Task(self._serve(work), loop=self._loop)

    async def _serve(self, work: Work) -> None:
        """Run the work to the end of its tasks, then finish the invocation."""
        log.destination.set(self._spool)
        log.handler.default = self._spool
        background.runner.set(self.tasks)
        uploads.set(self._environment.uploads)
        self._environment.strays.begin()
        self._environment.say_what_is_new()
        self._work = work
        self._environment.watchdog.watch(self._end - CUT * self._reserve, self._cut)
        try:
            await work.run(self)
        except asyncio.CancelledError:
            self.task.uncancel()
            work.abandon()
        except Exception:  # noqa: BLE001 - the invocation has to end, whatever its work came to
            log.logger.exception("the invocation's work raised")
            work.abandon()
        if self._finishing:
            # Without this one, which was given up: by now another invocation may be watched.
            return
        self._environment.watchdog.rest()
        await self._finish()

    def _cut(self) -> None:
        self.task.cancel()
        self._environment.watchdog.watch(self._end - GIVE_UP * self._reserve, self._give_up)

    def _give_up(self) -> None:
        # The application swallowed its cancellation. Lambda's timeout is near, so the rest goes on
        # without it.
        self._work.abandon()
        self._loop.create_task(self._finish())

    async def _finish(self) -> None:
        if self._finishing:
            return
        self._finishing = True
        try:
            await self._settle_strays()
            await self._flush()
        except Exception:  # noqa: BLE001 - the invocation has to end, whatever is wrong with its end
            log.logger.exception("the invocation did not end cleanly")
        finally:
            log.handler.default = None
            for run in self.tasks.abandoned:
                self._environment.left_running.append((self.request_id, run))
            self.ended()

    async def _flush(self) -> None:
        cold_start = self._environment.was_cold()
        flushed = await self._environment.log_store.flush(
            self._spool, self._end - PRINT * self._reserve
        )
        if cold_start or self._spool.records or self.tasks.outcomes:
            counts = metrics.Counts(
                self.request_id,
                self.tasks.outcomes,
                records=self._spool.records,
                failed_flush=not flushed,
                cold_start=cold_start,
            )
            metrics.emit(self._environment.settings, counts)

    async def _settle_strays(self) -> None:
        """Wait to the deadline for tasks that the application started and did not wait for."""
        while strays := self._strays():
            left = self.tasks.deadline - self._loop.time()
            if left <= 0:
                await self._stop(strays)
                return
            done, _ = await asyncio.wait(strays, timeout=left)
            for task in done:
                if not task.cancelled() and (error := task.exception()):
                    self.tasks.record(_name(task), "failed", repr(error), error=error)

    def _strays(self) -> set[asyncio.Future[Any]]:
        left = self._environment.strays.left()
        if not left:
            return left
        return left - {asyncio.current_task(), *(run.future for run in self.tasks.abandoned)}

    async def _stop(self, strays: set[asyncio.Future[Any]]) -> None:
        names = {task: _name(task) for task in strays}
        for task in strays:
            task.cancel()
        await asyncio.wait(strays, timeout=self.tasks.clean_up)
        for task, name in names.items():
            self.tasks.record(name, "timed out", "the application had left it running")
            if not task.done():
                run = Run(name, future=task, started=True)
                task.add_done_callback(run.end)
                self.tasks.abandoned.append(run)


def _name(task: asyncio.Future[Any]) -> str:
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else task
    frame = getattr(coroutine, "cr_frame", None)
    module = frame.f_globals.get("__name__") if frame else None
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    return f"{module}.{name}" if module else name
