"""Says when the time of the running invocation is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial


class Watchdog:
    """One timer for all invocations, which follow each other: it is set again when it is due.

    (To set and cancel a timer of its own costs an invocation more than to log a record.)
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0
        self._bark: Callable[[], object] | None = None

    def watch(self, at: float, bark: Callable[[], object]) -> None:
        """Call ``bark`` at a time of the loop's clock, in place of what was to be called before.

        It is called in the context of now, which is the invocation's.
        """
        self._at, self._bark = at, partial(copy_context().run, bark)
        if self._timer is None:
            self._set()
        elif at < self._timer.when():
            self._timer.cancel()
            self._set()

    def rest(self) -> None:
        """Call nothing."""
        self._bark = None

    def _set(self) -> None:
        # In no context: the timer outlives the invocation that sets it.
        self._timer = self._loop.call_at(self._at, self._due, context=Context())

    def _due(self) -> None:
        self._timer = None
        if self._bark is None:
            return
        if self._loop.time() < self._at:
            self._set()
            return
        bark, self._bark = self._bark, None
        bark()
