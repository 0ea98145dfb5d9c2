"""The format of a compacted object: gzip of lines of JSON, which say where they come from.

    {"compacted_from":"log/2026/11/24/06/20261124T060418.282Z-39817c69.jsonl","bytes":512}
    {"timestamp":"2026-11-24T06:04:18.289Z", ...       the object's 512 bytes, as they were
    {"compacted_from":"log/2026/11/24/06/20261124T060419.001Z-5e0f36a2.jsonl","bytes":204}
    ...

The headers are the manifest: what is merged and what was merged are written by one request, and
whoever reads the object has both. The length, not the look of a line, tells headers from records.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

from handler.errors import MalformedPart

_GZIP = 31  # zlib's wbits for gzip. Its header has no time: the same sources make the same bytes.
_CHUNK_BYTES = 1 << 20


class Merger:
    """Merges objects, in memory. ``size`` in bytes, of what is compressed so far."""

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(wbits=_GZIP)
        self._compressed = bytearray()
        self.sources = 0
        self.source_bytes = 0

    @property
    def size(self) -> int:
        """About how many bytes it will have."""
        return len(self._compressed)

    def add(self, key: str, body: bytes) -> None:
        """Append one object."""
        header = json.dumps({"compacted_from": key, "bytes": len(body)}, separators=(",", ":"))
        self._compressed += self._gzip.compress(header.encode() + b"\n" + body)
        if not body.endswith(b"\n"):
            self._compressed += self._gzip.compress(b"\n")
        self.sources += 1
        self.source_bytes += len(body)

    def finish(self) -> bytes:
        """Return the compacted object."""
        self._compressed += self._gzip.flush()
        return bytes(self._compressed)


class Splitter:
    """Takes a compacted object in chunks and gives back what it was made of.

    Raises MalformedPart for what is none.
    """

    def __init__(self) -> None:
        self._gzip = zlib.decompressobj(wbits=_GZIP)
        self._buffer = bytearray()
        self._source: tuple[str, int] | None = None

    def feed(self, chunk: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield the key and the content of each object that is whole by now."""
        while chunk:
            try:
                self._buffer += self._gzip.decompress(chunk, _CHUNK_BYTES)
            except zlib.error as error:
                raise MalformedPart(f"not gzip: {error}") from error
            if self._gzip.unused_data:
                raise MalformedPart("it goes on after its end")
            chunk = self._gzip.unconsumed_tail
            yield from self._whole()

    def finish(self) -> None:
        """Raise MalformedPart unless the end was the end."""
        if not self._gzip.eof or self._source or self._buffer.strip(b"\n"):
            raise MalformedPart("it ends too early")

    def _whole(self) -> Iterator[tuple[str, bytes]]:
        position = 0
        while True:
            if self._source is None:
                end = self._buffer.find(b"\n", position)
                if end < 0:
                    break
                line, position = bytes(self._buffer[position:end]), end + 1
                self._source = _header(line) if line else None
            elif len(self._buffer) - position >= self._source[1]:
                key, size = self._source
                yield key, bytes(self._buffer[position : position + size])
                position += size
                self._source = None
            else:
                break
        del self._buffer[:position]


def split(compressed: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the key and the content of each object that a compacted one was made of."""
    splitter = Splitter()
    yield from splitter.feed(compressed)
    splitter.finish()


def _header(line: bytes) -> tuple[str, int]:
    try:
        header = json.loads(line)
        return str(header["compacted_from"]), int(header["bytes"])
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedPart(f"no header: {line!r:.200}") from error
