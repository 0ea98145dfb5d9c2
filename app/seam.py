"""Where every background task comes by, whoever made the route, the router or the response.

Starlette runs a task by awaiting ``BackgroundTask.__call__``: FastAPI's ``BackgroundTasks`` awaits
it for each of its tasks, ``Response(background=...)`` awaits it directly. ``install`` puts the task
runner at that one place, so that a route needs no line of this project to be covered. Durable tasks
do not run here: they are handed to the acceptor of the request's context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import BackgroundTasks
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks

from app import durable
from app.background import TaskRunner, runner
from app.durable import Submission
from app.names import name_of


def install() -> None:
    """Let the task runner of the request's context run every background task of this process.

    Without one in the context, as under uvicorn, a task is isolated and recorded all the same, and
    has no deadline.
    """
    if BackgroundTask.__call__ is _run:
        return
    BackgroundTask.__init__ = _submitting(BackgroundTask.__init__)  # type: ignore[method-assign]
    BackgroundTask.__call__ = _run  # type: ignore[method-assign, assignment]
    for tasks in (StarletteBackgroundTasks, BackgroundTasks):
        tasks.__call__ = _accepting(tasks.__call__)  # type: ignore[method-assign]


async def _run(task: BackgroundTask) -> None:
    running = runner.get() or TaskRunner()
    task.begun = True  # type: ignore[attr-defined]
    if (submission := _submission(task)) is None:
        await running.run(task)
        return
    await _accept([task])
    running.record(submission.durable.name, "handed off", task_id=submission.id)


def _submitting(original: Callable[..., None]) -> Callable[..., None]:
    # A durable task is checked where it is added, so that the traceback of an argument that does
    # not fit points there.
    def __init__(  # noqa: N807
        self: BackgroundTask, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        original(self, func, *args, **kwargs)
        self.submission = durable.submit(func, args, kwargs)  # type: ignore[attr-defined]

    return __init__


def _accepting(original: Callable[..., Any]) -> Callable[..., Any]:
    # The durable tasks of a request are accepted together, and before any other task takes its
    # time: the response waits for them.
    async def __call__(self: StarletteBackgroundTasks) -> None:  # noqa: N807
        await _accept(self.tasks)
        try:
            await original(self)
        except asyncio.CancelledError:
            running = runner.get() or TaskRunner()
            for task in self.tasks:
                if not getattr(task, "begun", False):
                    name = name_of(task.func)
                    running.record(name, "not started", "its request was cancelled")
            raise

    return __call__


async def _accept(tasks: Sequence[BackgroundTask]) -> None:
    waiting = [each for task in tasks if (each := _submission(task)) and not each.accepted]
    if waiting and (taker := durable.acceptor.get()):
        await taker.accept(waiting)


def _submission(task: BackgroundTask) -> Submission | None:
    return getattr(task, "submission", None)
