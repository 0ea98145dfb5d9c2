"""The log in S3: the records of one invocation become one object, by one PutObject."""

from __future__ import annotations

import sys
from io import BytesIO
from mmap import mmap

from app.log import logger
from handler import spool
from handler.spool import Spool
from handler.store import Store


class LogStore:
    """Opens a spool per invocation and uploads it, or prints it when S3 does not take it."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._folder = spool.directory()

    def open(self, request_id: str, started: float) -> Spool:
        """Return the spool of an invocation that started at ``started`` (seconds since 1970)."""
        return Spool(self._folder, request_id, started)

    async def flush(self, records: Spool, deadline: float) -> bool:
        """Upload the records before ``deadline`` (the loop's clock); False if they were printed.

        Records logged later than this go to stdout, each by itself.
        """
        records.close()
        if not records.records:
            records.remove()
            return True
        key = spool.key(self._prefix, records.path)
        uploaded = await self._ship(key, records.content(), deadline)
        records.remove()
        return uploaded

    async def recover(self, deadline: float) -> None:
        """Upload what killed processes of this execution environment left behind."""
        for path, content in spool.left_over(self._folder):
            if content is not None:
                await self._ship(spool.key(self._prefix, path), content, deadline)
            path.unlink(missing_ok=True)

    async def _ship(self, key: str, body: bytes | mmap, deadline: float) -> bool:
        try:
            await self._store.put(key, body, deadline, content_type="application/x-ndjson")
        except Exception as error:  # noqa: BLE001 - whatever it is, the records are not to be lost
            _print(body)
            logger.error("log printed, since it cannot be written to S3: %s", error)
            return False
        return True


def _print(body: bytes | mmap) -> None:
    for line in BytesIO(body) if isinstance(body, bytes) else iter(body.readline, b""):
        sys.stdout.write(line.decode())
    sys.stdout.flush()
