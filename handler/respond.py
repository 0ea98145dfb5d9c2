"""When the response leaves: after the background tasks, or before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Thread

from handler.errors import RegistrationRefused
from handler.extension import Extension
from handler.invocation import Invocation, Work
from handler.settings import Settings


class AfterTasks:
    """The loop runs on the caller's thread, for as long as an invocation does."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def serve(self, invocation: Invocation, work: Work) -> None:
        """Return when nothing of the invocation is left to do."""
        invocation.responded = _nothing
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True
            self._loop.stop()

        invocation.ended = end
        invocation.start(work)
        while not ended:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # Of any task, a middleware's for one: they stop the loop after asyncio has given
                # them to the task, where they are dealt with.
                continue

    def skip(self, request_id: str) -> None:
        """Take note of an invocation that will not be served."""

    def close(self) -> None:
        """Leave the loop to its owner."""


class BeforeTasks:
    """The loop runs in a thread of its own; an extension holds the environment for it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run_loop: Callable[[], None], extension: Extension
    ) -> None:
        self._loop = loop
        self._extension = extension
        self._thread = Thread(target=run_loop, name="loop", daemon=True)
        self._thread.start()
        extension.start()

    def serve(self, invocation: Invocation, work: Work) -> None:
        """Return when the response is whole; when the environment cannot be held, at the end."""
        may_go = Event()
        held = self._extension.begin(invocation.request_id)

        def ended() -> None:
            self._extension.end(invocation.request_id)
            may_go.set()

        invocation.responded = may_go.set if held else _nothing
        invocation.ended = ended
        self._loop.call_soon_threadsafe(invocation.start, work)
        may_go.wait()

    def skip(self, request_id: str) -> None:
        """Let the environment go: this invocation will not be served."""
        self._extension.end(request_id)

    def close(self) -> None:
        """Stop the loop and leave it to its owner."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


def choose(
    respond: str, settings: Settings, loop: asyncio.AbstractEventLoop, run_loop: Callable[[], None]
) -> tuple[AfterTasks | BeforeTasks, str | None]:
    """Return the mode that the settings ask for, or the default one and why it has to be that."""
    if respond == "after-tasks":
        return AfterTasks(loop), None
    try:
        extension = Extension(_runtime_api(settings))
    except RegistrationRefused as error:
        return AfterTasks(loop), f"responses leave after the tasks, not before: {error}"
    return BeforeTasks(loop, run_loop, extension), None


def _runtime_api(settings: Settings) -> str:
    if settings.managed_instances:
        raise RegistrationRefused("Lambda Managed Instances have no INVOKE event for extensions")
    if settings.runtime_api is None:
        raise RegistrationRefused("there is no Lambda runtime API (AWS_LAMBDA_RUNTIME_API)")
    return settings.runtime_api


def _nothing() -> None: ...
