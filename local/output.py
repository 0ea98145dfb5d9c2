"""What a function's processes print, line by line."""

import asyncio
import os
from collections.abc import Callable

_CHUNK_BYTES = 64 * 1024


class Output:
    """A pipe for a process' standard output and error; `on_line` gets each line of text."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._partial = b""
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self._read_chunk)

    def drain(self) -> None:
        """Pass on everything that was written so far."""
        while self._read_chunk():
            pass

    def _read_chunk(self) -> bool:
        try:
            chunk = os.read(self._read_end, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace"))
        return True

    def close(self) -> None:
        """Pass on the rest; the write end is closed too."""
        asyncio.get_running_loop().remove_reader(self._read_end)
        self.drain()
        if self._partial:
            self._on_line(self._partial.decode(errors="replace"))
        os.close(self._read_end)
        os.close(self.write_end)
