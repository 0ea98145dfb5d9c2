"""Where the log is in the bucket.

    log/YYYY/MM/DD/HH/YYYYMMDDTHHMMSS.mmmZ-{request_id}.jsonl
    compacted/YYYY/MM/DD/HH/NNNNN.jsonl.gz

Fresh objects, one per invocation, are named by its start; compacted ones, the parts of an hour,
are numbered.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from handler.settings import Settings
from handler.store import Listed, Store

HOUR = timedelta(hours=1)
LONGEST_INVOCATION = timedelta(minutes=15)
"""Lambda's longest timeout. An object comes when its invocation ends."""
MARGIN = timedelta(minutes=5)
"""For clocks that differ."""

_PART = re.compile(r"(\d{5})\.jsonl\.gz")
_LEVELS = 4  # year, month, day, hour


class Part(NamedTuple):
    """A compacted object; ``number`` counts those of one hour."""

    key: str
    number: int
    modified: datetime


def hour_of(time: datetime) -> datetime:
    """Return the beginning of an hour."""
    return time.replace(minute=0, second=0, microsecond=0)


def is_finished(hour: datetime, now: datetime) -> bool:
    """Whether all invocations that began in an hour have ended, and their objects have come.

    But for those of killed environments, which come at their next init, whenever that is.
    """
    return hour + HOUR + LONGEST_INVOCATION + MARGIN <= now


def started(key: str) -> str:
    """Return the start of a fresh object's invocation, as a record's ``timestamp`` has it."""
    name = key.rpartition("/")[2]
    day, time = f"{name[:4]}-{name[4:6]}-{name[6:8]}", f"{name[9:11]}:{name[11:13]}:{name[13:20]}"
    return f"{day}T{time}"


def timestamp(time: datetime) -> str:
    """Return a time as a record's ``timestamp`` has it. Such texts sort as the times do."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03d}Z"


class LogObjects:
    """Lists the log by the hour. Every method raises StoreError when S3 does not answer."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._log = settings.log_prefix
        self._compacted = settings.compacted_prefix

    def fresh(
        self, hour: datetime, deadline: float, after: datetime | None = None
    ) -> AsyncIterator[list[Listed]]:
        """List an hour's fresh objects, in order; if need be only those that started since."""
        prefix = f"{self._log}{_path(hour)}"
        offset = f"{prefix}{after:%Y%m%dT%H%M%S}" if after else None
        return self._store.pages(prefix, deadline, after=offset)

    async def parts(self, hour: datetime, deadline: float) -> list[Part]:
        """Return an hour's compacted objects, in order."""
        prefix = f"{self._compacted}{_path(hour)}"
        return [
            Part(each.key, int(match[1]), each.modified)
            async for page in self._store.pages(prefix, deadline)
            for each in page
            if (match := _PART.fullmatch(each.key[len(prefix) :]))
        ]

    def part(self, hour: datetime, number: int) -> str:
        """Return the key of one of an hour's compacted objects."""
        return f"{self._compacted}{_path(hour)}{number:05d}.jsonl.gz"

    async def hours(self, first: datetime, last: datetime, deadline: float) -> list[datetime]:
        """Return the hours from the first to the last that have objects of either kind."""
        # In this order: what is not there any more is then among the second.
        fresh = await self._hours(self._log, first, last, deadline)
        compacted = await self._hours(self._compacted, first, last, deadline)
        return sorted({*fresh, *compacted})

    async def fresh_hours(self, first: datetime, last: datetime, deadline: float) -> list[datetime]:
        """Return the hours from the first to the last that have fresh objects."""
        return await self._hours(self._log, first, last, deadline)

    async def _hours(
        self, root: str, first: datetime, last: datetime, deadline: float
    ) -> list[datetime]:
        # Year by year, month by month: what is empty, or outside, is not looked into.
        earliest, latest = _path(first), _path(last)
        paths = [""]
        for _ in range(_LEVELS):
            found = [
                f"{path}{folder}"
                for path in paths
                for folder in await self._store.folders(f"{root}{path}", deadline)
                if folder[:-1].isdecimal()
            ]
            paths = [path for path in found if earliest[: len(path)] <= path <= latest[: len(path)]]
        return [datetime.strptime(path, "%Y/%m/%d/%H/").replace(tzinfo=UTC) for path in paths]


def _path(hour: datetime) -> str:
    return f"{hour:%Y/%m/%d/%H}/"
