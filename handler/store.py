"""The bucket: conditional writes and reads, with retries that end before the deadline does."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from mmap import mmap
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from handler.errors import Conflict, StoreError
from handler.settings import Settings

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import S3Config, S3CredentialProvider

T = TypeVar("T")

# Not Python's own generator, which goes on alike in every environment that a snapshot starts.
_random = random.SystemRandom()

ATTEMPTS = 3
ATTEMPT_SECONDS = 2.0
"""How long one attempt may take, besides the time for its bytes."""
BULK_SECONDS = 15.0
"""The same, when one request is about many objects."""
BYTES_PER_SECOND = 5_000_000
BACKOFF_SECONDS = 0.05
PAGE = 1000
"""Objects that one request of S3's can list, or delete."""
CLIENT_TIMEOUT = "15m"
"""The client's own limit, which would cut off the body of a large file. Ours are shorter."""
UNUSED_KEY = "tasks/connection"
"""A key that every role may read, and that no task has."""
# Asking again changes nothing about these: a missing permission, credentials, a missing bucket.
MISSING = (FileNotFoundError, NotFoundError)
PERMANENT = (PermissionDeniedError, UnauthenticatedError, *MISSING)
CONFLICTS = (AlreadyExistsError, PreconditionError)


@dataclass(frozen=True, slots=True)
class Object:
    """An object's content and its entity tag, which changes with each write."""

    body: bytes
    e_tag: str


class Listed(NamedTuple):
    """An object as a list has it; ``size`` in bytes."""

    key: str
    size: int
    modified: datetime


class Store:
    """The environment's S3 client. It connects with its first request.

    Region and credentials are read from the AWS variables by the client itself. Retries are ours,
    since only the invocation knows how much time is left for them: ``deadline`` is a time of the
    running loop's clock, in seconds.

    Every method raises StoreError when S3 did not answer in time, or refused.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        config: S3Config | None = None,
        credentials: S3CredentialProvider | None = None,
    ) -> None:
        """Take region and credentials from ``config`` and ``credentials``, where they are given."""
        endpoint = settings.s3_endpoint
        where: S3Config = (
            {"endpoint": endpoint} if endpoint else {"virtual_hosted_style_request": True}
        )
        self._store = S3Store(
            settings.bucket,
            config=where | (config or {}),
            client_options={
                "allow_http": (endpoint or "").startswith("http:"),
                "timeout": CLIENT_TIMEOUT,
            },
            retry_config={"max_retries": 0},
            credential_provider=credentials or settings.container_credentials,
        )

    async def connect(self) -> None:
        """Get credentials and a connection, so that no request has to wait for them.

        What goes wrong here will go wrong again where it matters, and is dealt with there.
        """
        with contextlib.suppress(BaseError, OSError):
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await obstore.head_async(self._store, UNUSED_KEY)

    async def put(
        self,
        key: str,
        body: bytes | mmap,
        deadline: float,
        *,
        content_type: str = "application/json",
        replaces: Object | None = None,
        anew: bool = False,
    ) -> str:
        """Write an object by one PutObject; return its entity tag.

        With ``anew`` only if there is none (``If-None-Match: *``), with ``replaces`` only if that
        is what there is (``If-Match``); raises Conflict otherwise.
        """
        mode: PutMode = {"e_tag": replaces.e_tag} if replaces else "create" if anew else "overwrite"
        tries = 0

        async def put() -> str:
            nonlocal tries
            tries += 1
            result = await obstore.put_async(
                self._store,
                key,
                body,
                attributes={"Content-Type": content_type},
                mode=mode,
                use_multipart=False,
            )
            return result["e_tag"] or ""

        try:
            return await _retry(put, deadline, len(body))
        except CONFLICTS as error:
            # An attempt that seemed to fail may have been the write that is now in the way.
            there = await self.get(key, deadline) if tries > 1 else None
            if there is not None and there.body == bytes(body):
                return there.e_tag
            raise Conflict(f"{key} was written by another") from error
        except (BaseError, OSError) as error:
            raise StoreError(f"{key} not written: {_brief(error)}") from error

    async def get(self, key: str, deadline: float, size: int = 0) -> Object | None:
        """Read an object, of about ``size`` bytes if it is not small; None when there is none."""

        async def get() -> Object:
            result = await obstore.get_async(self._store, key)
            body = bytes(await result.bytes_async())
            return Object(body, result.meta["e_tag"] or "")

        try:
            return await _retry(get, deadline, size)
        except MISSING:
            return None
        except (BaseError, OSError) as error:
            raise StoreError(f"{key} not read: {_brief(error)}") from error

    async def delete(self, key: str, deadline: float) -> None:
        """Delete an object, if there is one."""
        try:
            await _retry(lambda: obstore.delete_async(self._store, key), deadline)
        except MISSING:
            return
        except (BaseError, OSError) as error:
            raise StoreError(f"{key} not deleted: {_brief(error)}") from error

    async def delete_all(self, keys: Sequence[str], deadline: float) -> None:
        """Delete up to PAGE objects by one request."""
        try:
            await _retry(
                lambda: obstore.delete_async(self._store, keys), deadline, seconds=BULK_SECONDS
            )
        except (BaseError, OSError) as error:
            raise StoreError(f"{len(keys)} objects not deleted: {_brief(error)}") from error

    async def pages(
        self, prefix: str, deadline: float, *, after: str | None = None
    ) -> AsyncIterator[list[Listed]]:
        """List what is under a prefix (and after a key), in the order of S3's keys, page by page.

        A page that does not come is asked for anew; what came before it does not come again.
        """
        stream: AsyncIterator[Sequence[ObjectMeta]] | None = None

        async def page() -> list[Listed]:
            nonlocal stream
            stream = stream or obstore.list(self._store, prefix, offset=after, chunk_size=PAGE)
            try:
                metas = await anext(stream)
            except StopAsyncIteration:
                return []
            except BaseException:
                stream = None
                raise
            return [Listed(meta["path"], meta["size"], meta["last_modified"]) for meta in metas]

        try:
            while listed := await _retry(page, deadline):
                after = listed[-1].key
                yield listed
        except (BaseError, OSError) as error:
            raise StoreError(f"{prefix} not listed: {_brief(error)}") from error

    async def folders(self, prefix: str, deadline: float) -> list[str]:
        """Return what is between the prefix and the next slash, once each, and with the slash."""
        try:
            listed = await _retry(
                lambda: obstore.list_with_delimiter_async(self._store, prefix), deadline
            )
        except (BaseError, OSError) as error:
            raise StoreError(f"{prefix} not listed: {_brief(error)}") from error
        return sorted(f"{each}/"[len(prefix) :] for each in listed["common_prefixes"])

    async def first(self, prefix: str, deadline: float) -> tuple[str, int] | None:
        """Return key and size of the first object under a prefix; None when there is none."""

        async def first() -> tuple[str, int] | None:
            async for page in obstore.list(self._store, prefix, chunk_size=1):
                for meta in page:
                    return meta["path"], meta["size"]
            return None

        try:
            return await _retry(first, deadline)
        except (BaseError, OSError) as error:
            raise StoreError(f"{prefix} not listed: {_brief(error)}") from error

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Read an object of any size in chunks."""
        try:
            result = await obstore.get_async(self._store, key)
            async for chunk in result.stream():
                yield bytes(chunk)
        except (BaseError, OSError) as error:
            raise StoreError(f"{key} not read: {_brief(error)}") from error


async def _retry(
    call: Callable[[], Awaitable[T]],
    deadline: float,
    size: int = 0,
    *,
    seconds: float = ATTEMPT_SECONDS,
) -> T:
    now = asyncio.get_running_loop().time
    longest = seconds + size / BYTES_PER_SECOND
    for attempts_left in range(ATTEMPTS, 1, -1):
        try:
            async with asyncio.timeout(min((deadline - now()) / attempts_left, longest)):
                return await call()
        except (*PERMANENT, *CONFLICTS):
            raise
        except (BaseError, OSError):
            pause = BACKOFF_SECONDS * 2 ** (ATTEMPTS - attempts_left) * _random.uniform(1, 2)
            await asyncio.sleep(min(pause, max(0.0, (deadline - now()) / 4)))
    async with asyncio.timeout(min(deadline - now(), longest)):
        return await call()


def _brief(error: BaseException) -> str:
    # obstore's messages end with a dump of the error's internals.
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"
