"""The log in S3, fresh and compacted, in the order of the invocations' starts.

Each record is found, and found once, whatever the compactor does meanwhile (`handler/compact.py`
says why): an hour's fresh objects are listed first, its parts next, and a fresh object that is not
there any more when it is read is in a part that has come since.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from handler.in_order import in_order
from handler.log_objects import (
    HOUR,
    LONGEST_INVOCATION,
    LogObjects,
    Part,
    hour_of,
    is_finished,
    started,
    timestamp,
)
from handler.merged import split
from handler.store import Listed
from local.log_place import Place

REQUEST_SECONDS = 60.0
"""How long one request may take, attempts included."""
_FEW = timedelta(days=1)


class Source(NamedTuple):
    """An invocation's records, as its object had them."""

    key: str
    body: bytes


Wanted = Callable[[str], bool]


class LogReader:
    """Reads the log of one place. Raises StoreError when S3 does not answer."""

    def __init__(self, place: Place) -> None:
        self._store = place.store
        self._objects = LogObjects(place.store, place.settings)

    async def sources(
        self, first: datetime, last: datetime, wanted: Wanted = lambda _: True
    ) -> AsyncGenerator[Source]:
        """Yield what was logged by invocations that can have logged between two times.

        In the order of their starts. `wanted` is asked about an object's key, before it is read.
        """
        earliest = first - LONGEST_INVOCATION
        begin, end = timestamp(earliest), timestamp(last)

        def chosen(key: str) -> bool:
            return begin <= started(key) <= end and wanted(key)

        for hour in await self._hours(hour_of(earliest), hour_of(last)):
            after = earliest if hour == hour_of(earliest) else None
            async with aclosing(self._hour(hour, after, chosen)) as sources:
                async for source in sources:
                    yield source

    async def _hours(self, first: datetime, last: datetime) -> list[datetime]:
        if last - first < _FEW:
            # To look which of them have objects would be about as many requests.
            return [first + HOUR * n for n in range((last - first) // HOUR + 1)]
        return await self._objects.hours(first, last, self._deadline())

    async def _hour(
        self, hour: datetime, after: datetime | None, wanted: Wanted
    ) -> AsyncGenerator[Source]:
        fresh = [
            each
            async for page in self._objects.fresh(hour, self._deadline(), after)
            for each in page
            if wanted(each.key)
        ]
        known = await self._parts(hour)
        parts = [await self._read_part(part) for part in known]
        merged = {source.key for source in _merge(parts, wanted)}
        unmerged = [each for each in fresh if each.key not in merged]
        others = _merge(parts, wanted)
        other = next(others, None)
        async with aclosing(self._fresh(hour, unmerged, known)) as sources:
            async for source in sources:
                while other and other.key < source.key:
                    yield other
                    other = next(others, None)
                yield source
        while other:
            yield other
            other = next(others, None)

    async def _fresh(
        self, hour: datetime, listed: list[Listed], known: list[Part]
    ) -> AsyncGenerator[Source]:
        moved: dict[str, bytes] = {}
        async with aclosing(in_order(_each(listed), self._read)) as bodies:
            async for key, body in bodies:
                if body is None and key not in moved:
                    moved = await self._merged_since(hour, known)
                content = moved.get(key) if body is None else body
                if content is not None:  # else it has expired
                    yield Source(key, content)

    async def _parts(self, hour: datetime) -> list[Part]:
        if not is_finished(hour, datetime.now(UTC)):
            return []
        return await self._objects.parts(hour, self._deadline())

    async def _read(self, each: Listed) -> bytes | None:
        found = await self._store.get(each.key, self._deadline(), each.size)
        return found.body if found else None

    async def _read_part(self, part: Part) -> bytes:
        return b"".join([chunk async for chunk in self._store.stream(part.key)])

    async def _merged_since(self, hour: datetime, known: Iterable[Part]) -> dict[str, bytes]:
        new = [part for part in await self._parts(hour) if part not in known]
        return dict(_merge([await self._read_part(part) for part in new], lambda _: True))

    @staticmethod
    def _deadline() -> float:
        return asyncio.get_running_loop().time() + REQUEST_SECONDS


def _merge(parts: list[bytes], wanted: Wanted) -> Iterator[Source]:
    sources = heapq.merge(*(split(part) for part in parts), key=lambda each: each[0])
    return (Source(key, body) for key, body in sources if wanted(key))


async def _each(listed: list[Listed]) -> AsyncIterator[Listed]:
    for each in listed:
        yield each
