"""Says when the time of the running invocation is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


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
        """Call ``bark`` at a time of the loop's clock, in place of what was to be called before."""
        self._at, self._bark = at, bark
        if self._timer is None:
            self._timer = self._loop.call_at(at, self._due)
        elif at < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(at, self._due)

    def rest(self) -> None:
        """Call nothing."""
        self._bark = None

    def _due(self) -> None:
        self._timer = None
        if self._bark is None:
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._due)
            return
        bark, self._bark = self._bark, None
        bark()
