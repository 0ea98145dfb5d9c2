"""The compaction of one hour. What makes it safe is written in ``handler/compact.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.log import logger
from handler.errors import MalformedPart
from handler.in_order import in_order
from handler.log_objects import LogObjects, Part
from handler.merged import Merger, Splitter
from handler.settings import Settings
from handler.store import PAGE, Listed, Store

PART_BYTES = 64 << 20
"""Compressed. It is held in memory, and what reads it for Athena cannot share the work."""
LARGEST_BYTES = 16 << 20
"""A larger object stays as it is: nothing is gained by merging it."""
COMMIT_SECONDS = 60.0
"""Kept back for writing a part: 64 MB, three times if need be. At most a quarter of the time."""


@dataclass(slots=True)
class Tally:
    """What was done. ``source_bytes`` as they were, ``part_bytes`` as they are now."""

    hours: int = 0
    parts: int = 0
    sources: int = 0
    source_bytes: int = 0
    part_bytes: int = 0
    deleted: int = 0
    failures: int = 0


class Compaction:
    """Compacts hours for so many seconds.

    ``grace`` is how long fresh objects outlive the part that they were merged into.
    """

    def __init__(
        self, store: Store, settings: Settings, tally: Tally, seconds: float, grace: timedelta
    ) -> None:
        self._store = store
        self._objects = LogObjects(store, settings)
        self._tally = tally
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._full = self._deadline - min(COMMIT_SECONDS, seconds / 4)
        self._grace = grace

    @property
    def is_out_of_time(self) -> bool:
        """Whether what is at hand has to be written now."""
        return asyncio.get_running_loop().time() > self._full

    async def compact(self, hour: datetime) -> None:
        """Merge what is not merged yet, delete what was merged long enough ago.

        Raises Conflict when another compactor is at it, StoreError and MalformedPart.
        """
        parts = await self._objects.parts(hour, self._deadline)
        merged = await self._merged(parts)
        before = self._tally.parts
        number = parts[-1].number + 1 if parts else 0
        merger = Merger()
        async with aclosing(in_order(self._to_merge(hour, merged), self._read)) as bodies:
            async for key, body in bodies:
                if body is not None:
                    merger.add(key, body)
                if merger.size >= PART_BYTES:
                    await self._commit(self._objects.part(hour, number), merger)
                    number, merger = number + 1, Merger()
                if self.is_out_of_time:
                    break
        if merger.sources:
            await self._commit(self._objects.part(hour, number), merger)
        self._tally.hours += self._tally.parts > before

    async def _merged(self, parts: list[Part]) -> dict[str, bool]:
        """Return what the parts were made of, with whether it may be deleted by now."""
        long_ago = datetime.now(UTC) - self._grace
        merged: dict[str, bool] = {}
        for part in parts:
            splitter = Splitter()
            try:
                async for chunk in self._store.stream(part.key):
                    for key, _ in splitter.feed(chunk):
                        merged[key] = part.modified <= long_ago
                splitter.finish()
            except MalformedPart as error:
                raise MalformedPart(f"{part.key}: {error}") from error
        return merged

    async def _to_merge(self, hour: datetime, merged: dict[str, bool]) -> AsyncIterator[Listed]:
        done: list[str] = []
        async for page in self._objects.fresh(hour, self._deadline):
            for each in page:
                if merged.get(each.key):
                    done.append(each.key)
                elif each.key not in merged and each.size <= LARGEST_BYTES:
                    yield each
            if len(done) >= PAGE:
                await self._delete(done[:PAGE])
                del done[:PAGE]
        if done:
            await self._delete(done)

    async def _read(self, each: Listed) -> bytes | None:
        # None when it has expired, or when another compactor has merged and deleted it.
        found = await self._store.get(each.key, self._deadline, each.size)
        return found.body if found else None

    async def _commit(self, key: str, merger: Merger) -> None:
        body = merger.finish()
        await self._store.put(key, body, self._deadline, content_type="application/gzip", anew=True)
        self._tally.parts += 1
        self._tally.sources += merger.sources
        self._tally.source_bytes += merger.source_bytes
        self._tally.part_bytes += len(body)
        logger.info("%s objects merged into %s", merger.sources, key)

    async def _delete(self, keys: list[str]) -> None:
        await self._store.delete_all(keys, self._deadline)
        self._tally.deleted += len(keys)
