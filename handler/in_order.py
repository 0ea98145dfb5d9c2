"""Many reads at the same time, whose results come in the order of what was asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from handler.store import Listed

AT_A_TIME = 64
ROOM_BYTES = 32 << 20
"""Memory for what has come and is not taken yet."""


async def in_order(
    objects: AsyncIterator[Listed], read: Callable[[Listed], Awaitable[bytes | None]]
) -> AsyncGenerator[tuple[str, bytes | None]]:
    """Yield the key and the content of each object, in order, while the next ones are read.

    None for an object that is not there any more. Close it (``aclosing``) to stop early.
    """
    pending: deque[tuple[Listed, asyncio.Future[bytes | None]]] = deque()
    room = ROOM_BYTES
    try:
        async for each in objects:
            while pending and (len(pending) >= AT_A_TIME or room < each.size):
                first, future = pending[0]
                yield first.key, await future
                pending.popleft()
                room += first.size
            pending.append((each, asyncio.ensure_future(read(each))))
            room -= each.size
        while pending:
            first, future = pending[0]
            yield first.key, await future
            pending.popleft()
    finally:
        for _, future in pending:
            future.cancel()
        await asyncio.gather(*(future for _, future in pending), return_exceptions=True)
