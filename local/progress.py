"""How far a long read is, on a terminal's last line."""

import time
from typing import Self, TextIO

from local.log_reader import Source

_QUIET_SECONDS = 1.0
_REFRESH_SECONDS = 0.2


class Progress:
    """Shows how many objects were read, when that takes a while and prints nothing."""

    def __init__(self, stream: TextIO, what: str) -> None:
        """Show nothing unless `stream` is a terminal; `what` is being read."""
        self._stream = stream if stream.isatty() else None
        self._what = what
        self._objects = 0
        self._shown = False
        self._next = time.monotonic() + _QUIET_SECONDS

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing on the line."""
        self.clear()

    def count(self, source: Source) -> None:
        """Take note of an object that was read."""
        self._objects += 1
        if self._stream and time.monotonic() >= self._next:
            hour = source.key.rpartition("/")[2][:11]
            self._stream.write(f"\r\033[K{self._what} {hour} {self._objects:,} objects read")
            self._stream.flush()
            self._shown = True
            self._next = time.monotonic() + _REFRESH_SECONDS

    def clear(self) -> None:
        """Make room for a line of output."""
        if self._shown and self._stream:
            self._stream.write("\r\033[K")
            self._stream.flush()
            self._shown = False
        self._next = time.monotonic() + _QUIET_SECONDS
