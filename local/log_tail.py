"""The log in S3, as it grows."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from handler.log_objects import LONGEST_INVOCATION, MARGIN, started, timestamp
from local.log_place import Place
from local.log_reader import LogReader, Source, Wanted

# An object is named by the start of its invocation, and can come long after it: an environment
# that was killed uploads what it had left at its next init.
_LOOK_BACK = timedelta(hours=1)


class LogTail:
    """Finds objects that were not there before. S3 has to be asked: it calls nobody here."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._seen: set[str] = set()

    async def new(self, since: datetime, wanted: Wanted = lambda _: True) -> AsyncGenerator[Source]:
        """Yield what has come, of invocations that can have logged since then."""
        oldest = timestamp(since - LONGEST_INVOCATION)
        self._seen = {key for key in self._seen if started(key) >= oldest}

        def unseen(key: str) -> bool:
            return key not in self._seen and wanted(key)

        until = datetime.now(UTC) + MARGIN
        async with aclosing(self._reader.sources(since, until, unseen)) as sources:
            async for source in sources:
                self._seen.add(source.key)
                yield source


class NewObjects:
    """What `make run` shows after an invocation, when its object must be there."""

    def __init__(self, place: Place) -> None:
        self._tail = LogTail(LogReader(place))
        self._bucket = place.settings.bucket

    def read(self) -> Iterator[tuple[str, list[str]]]:
        """Return the address and the lines of each object that came since the last call."""
        for source in asyncio.run(self._new()):
            lines = source.body.decode().split("\n")
            yield f"s3://{self._bucket}/{source.key}", [line for line in lines if line]

    async def _new(self) -> list[Source]:
        return [source async for source in self._tail.new(datetime.now(UTC) - _LOOK_BACK)]
