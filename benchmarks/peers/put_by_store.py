"""``puts`` objects of ``size`` bytes, one after another, by this project's store."""

from __future__ import annotations

import asyncio
import math
import os
from typing import Any

from handler.settings import Settings
from handler.store import Store

loop = asyncio.new_event_loop()
store = Store(Settings.from_environ(os.environ))


async def _put(puts: int, body: bytes) -> None:
    for number in range(puts):
        await store.put(f"log/{number}", body, math.inf)


def handler(event: Any, _context: Any) -> dict[str, Any]:
    """Put."""
    loop.run_until_complete(_put(event["puts"], b"x" * event["size"]))
    return {"statusCode": 200}
