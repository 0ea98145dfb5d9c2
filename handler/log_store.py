"""The log in S3: the records of one invocation become one object, by one PutObject."""

from __future__ import annotations

import asyncio
import mmap
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from app.log import logger
from handler import spool
from handler.settings import Settings
from handler.spool import Spool

if TYPE_CHECKING:
    from obstore.store import RetryConfig

ATTEMPTS = 3
ATTEMPT_SECONDS = 2.0
"""How long one attempt may take, besides the time for its bytes."""
BYTES_PER_SECOND = 5_000_000
BACKOFF_SECONDS = 0.05
# Asking again changes nothing about these: a missing permission, credentials, a missing bucket.
PERMANENT = (PermissionDeniedError, UnauthenticatedError, NotFoundError)


def make_store(settings: Settings) -> S3Store:
    """Return the environment's S3 client. It connects with its first request.

    Region and credentials are read from the AWS variables by the client itself. Retries are ours,
    since only the invocation knows how much time is left for them.
    """
    retries: RetryConfig = {"max_retries": 0}
    endpoint = settings.s3_endpoint
    if endpoint is None:
        return S3Store(settings.bucket, virtual_hosted_style_request=True, retry_config=retries)
    return S3Store(
        settings.bucket,
        endpoint=endpoint,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config=retries,
    )


class LogStore:
    """Opens a spool per invocation and uploads it, or prints it when S3 does not take it."""

    def __init__(self, store: S3Store, prefix: str) -> None:
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
        uploaded = await self._ship(records.path, deadline)
        records.remove()
        return uploaded

    async def recover(self, deadline: float) -> None:
        """Upload what killed processes of this execution environment left behind."""
        for path in spool.left_over(self._folder):
            if path.stat().st_size:
                await self._ship(path, deadline)
            path.unlink()

    async def _ship(self, path: Path, deadline: float) -> bool:
        key = spool.key(self._prefix, path)
        with path.open("rb") as file:
            # Mapped, not read: the memory it takes does not grow with the records.
            body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            await self._put(key, body, deadline)
        except (BaseError, TimeoutError) as error:
            _print(body)
            logger.error("log not written to S3, printed instead: %s: %s", key, _brief(error))
            return False
        return True

    async def _put(self, key: str, body: mmap.mmap, deadline: float) -> None:
        now = asyncio.get_running_loop().time
        longest = ATTEMPT_SECONDS + len(body) / BYTES_PER_SECOND
        for attempt in range(1, ATTEMPTS + 1):
            share = (deadline - now()) / (ATTEMPTS - attempt + 1)
            try:
                async with asyncio.timeout(min(share, longest)):
                    await obstore.put_async(
                        self._store,
                        key,
                        body,
                        attributes={"Content-Type": "application/x-ndjson"},
                        use_multipart=False,
                    )
            except PERMANENT:
                raise
            except (BaseError, TimeoutError):
                if attempt == ATTEMPTS:
                    raise
                pause = BACKOFF_SECONDS * 2**attempt * random.uniform(0.5, 1)  # noqa: S311
                await asyncio.sleep(min(pause, max(0.0, (deadline - now()) / 4)))
            else:
                return


def _print(body: mmap.mmap) -> None:
    for line in iter(body.readline, b""):
        sys.stdout.write(line.decode())
    sys.stdout.flush()


def _brief(error: BaseException) -> str:
    # obstore's messages end with a dump of the error's internals.
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
