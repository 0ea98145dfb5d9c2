"""The asyncio tasks that the code of an invocation started, and may not have waited for."""

from __future__ import annotations

import asyncio
from typing import Any

FEW = 64


class Strays:
    """Keeps what the loop's ``create_task`` makes, which every way to start a task comes down to.

    (``asyncio.all_tasks`` looks through all that there are, which takes longer than the rest of a
    short invocation.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._factory: Any = None
        self._made: list[asyncio.Future[Any]] = []
        self._many = FEW

    def begin(self) -> None:
        """Forget what was made before."""
        factory = self._loop.get_task_factory()
        if factory != self._make:  # the application's own, set at any time
            self._factory = factory
            self._loop.set_task_factory(self._make)
        self._made.clear()

    def left(self) -> set[asyncio.Future[Any]]:
        """Return what was made since, and is not done."""
        return {task for task in self._made if not task.done()}

    def _make(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Future[Any]:
        make = self._factory or _task
        task: asyncio.Future[Any] = make(loop, coroutine, **options)
        if len(self._made) >= self._many:
            self._made = [each for each in self._made if not each.done()]
            self._many = max(FEW, 2 * len(self._made))
        self._made.append(task)
        return task


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)
