"""The asyncio tasks that the code of an invocation started, and may not have waited for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

Make = Callable[..., "asyncio.Future[Any]"]


class Strays:
    """Keeps what the loop's ``create_task`` makes until it is done: each way to start a task comes
    down to that, but for a call of ``asyncio.Task`` itself, which asyncio advises against.

    (``asyncio.all_tasks`` looks through all that there are, which takes longer than the rest of a
    short invocation.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._factory: Any = None
        self._running: set[asyncio.Future[Any]] = set()

    def begin(self) -> None:
        """Forget what was made before."""
        factory = self._loop.get_task_factory()
        if factory is None or factory is not self._factory:
            # The application may set its own at any time. It may lead to the one that was set
            # here, so that each time it has to be another.
            self._factory = self._keeping(factory)
            self._loop.set_task_factory(self._factory)
        self._running.clear()

    def left(self) -> set[asyncio.Future[Any]]:
        """Return what was made since, and is not done."""
        if not self._running:
            return set()
        # A copy first: a thread of the application's may make one meanwhile.
        return {task for task in self._running.copy() if not task.done()}

    def _keeping(self, factory: Any) -> Make:
        if _is_eager(factory):
            # AnyIO knows an eager factory by its code, and cannot start its tasks by one that it
            # does not know.
            construct = factory.__closure__[0].cell_contents
            eager: Make = asyncio.create_eager_task_factory(  # type: ignore[attr-defined,unused-ignore]
                lambda coroutine, **options: self._keep(construct(coroutine, **options))
            )
            return eager
        make = factory or _task
        return lambda loop, coroutine, **options: self._keep(make(loop, coroutine, **options))

    def _keep(self, task: asyncio.Future[Any]) -> asyncio.Future[Any]:
        # No longer than it runs: its result may be large, and that nobody asked for its exception
        # is said when nobody has it any more.
        if not task.done():
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return task


def _is_eager(factory: Any) -> bool:
    if sys.version_info < (3, 12):
        return False
    code = asyncio.eager_task_factory.__code__
    return getattr(factory, "__code__", None) is code and bool(factory.__closure__)


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)
