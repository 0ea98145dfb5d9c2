"""The records that were asked for, in the order of time, now and as they come."""

import asyncio
import heapq
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from handler.log_objects import started
from local.log_reader import LogReader, Source
from local.log_record import Query, Record, records
from local.log_tail import LogTail

POLL_SECONDS = 2.0
_POLLS_SHARE = 4
"""How many times as long as a poll took the pause after it is, at least: lists cost money."""

OnSource = Callable[[Source], object]


async def search(
    reader: LogReader, query: Query, on_source: OnSource = lambda _: None
) -> AsyncGenerator[Record]:
    """Yield the records that there are; `on_source` is told of each object that was read."""
    last = query.until or datetime.now(UTC)
    sources = reader.sources(query.since, last, query.wants)
    async with aclosing(_in_order(sources, query, on_source)) as found:
        async for record in found:
            yield record


async def follow(
    reader: LogReader, query: Query, on_source: OnSource = lambda _: None
) -> AsyncGenerator[Record]:
    """Yield the records that there are, and then those that come, for ever.

    In the order of time between two polls. A record that comes later than its invocation's longest
    time, from an environment that was killed, is not waited for.
    """
    tail = LogTail(reader)
    since = query.since
    while True:
        began, polled = time.monotonic(), datetime.now(UTC)
        sources = tail.new(since, query.wants)
        async with aclosing(_in_order(sources, query, on_source)) as found:
            async for record in found:
                yield record
        since = max(since, polled)
        await asyncio.sleep(max(POLL_SECONDS, _POLLS_SHARE * (time.monotonic() - began)))


async def _in_order(
    sources: AsyncGenerator[Source], query: Query, on_source: OnSource
) -> AsyncGenerator[Record]:
    # Invocations overlap. What was logged before the next one began can go out.
    waiting: list[Record] = []
    async with aclosing(sources):
        async for source in sources:
            on_source(source)
            begin = started(source.key)
            while waiting and waiting[0].time < begin:
                yield heapq.heappop(waiting)
            for record in records(source):
                if query.matches(record):
                    heapq.heappush(waiting, record)
    while waiting:
        yield heapq.heappop(waiting)
