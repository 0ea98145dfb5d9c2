"""Where uploaded files are kept: what the routes ask of it, and how they come by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import BinaryIO, Protocol


class Uploads(Protocol):
    """Where uploaded files are kept, under ``uploads/{task id}/{safe file name}``."""

    async def write(self, key: str, content: BinaryIO, size: int, media_type: str) -> None:
        """Write a file. Raises Unavailable."""

    async def find(self, task_id: str) -> tuple[str, int] | None:
        """Return key and size of the upload with an id; None when there is none."""

    async def presign(self, key: str, size: int, media_type: str) -> str:
        """Return a URL that takes one PUT of exactly this many bytes of this media type."""

    def read(self, key: str) -> AsyncIterator[bytes]:
        """Read a file in chunks. Raises Unavailable."""


uploads: ContextVar[Uploads | None] = ContextVar("uploads", default=None)
