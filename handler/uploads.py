"""Uploaded files in the bucket."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, BinaryIO, Literal

import anyio.to_thread

from handler.ledger import is_id
from handler.settings import Settings
from handler.store import BYTES_PER_SECOND, Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SECONDS = 10.0
PRESIGNED_SECONDS = 900


class BucketUploads:
    """The application's ``Uploads``, in S3. Every method raises StoreError, an Unavailable."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    async def write(self, key: str, content: BinaryIO, size: int, media_type: str) -> None:
        """Write a file by one PutObject."""
        body = await anyio.to_thread.run_sync(content.read)
        await self._store.put(key, body, self._deadline(size), content_type=media_type)

    async def find(self, task_id: str) -> tuple[str, int] | None:
        """Return key and size of the upload with an id; None when there is none."""
        if not is_id(task_id):
            return None
        return await self._store.first(f"uploads/{task_id}/", self._deadline(0))

    async def presign(self, key: str, size: int, media_type: str) -> str:
        """Return a URL for one PUT, valid for 15 minutes, with length and type signed."""
        return await anyio.to_thread.run_sync(self._presign, key, size, media_type)

    def read(self, key: str) -> AsyncIterator[bytes]:
        """Read a file in chunks."""
        return self._store.stream(key)

    def _presign(self, key: str, size: int, media_type: str) -> str:
        parameters = {
            "Bucket": self._settings.bucket,
            "Key": key,
            "ContentLength": size,
            "ContentType": media_type,
        }
        return self._s3.generate_presigned_url(
            "put_object", Params=parameters, ExpiresIn=PRESIGNED_SECONDS
        )

    @functools.cached_property
    def _s3(self) -> S3Client:
        # obstore signs no headers. boto3, which Lambda's runtime brings, is imported by the first
        # request for an upload.
        import boto3  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        # With "auto", boto3 signs for s3.amazonaws.com, which has not heard of a young bucket, and
        # never hears of those in the regions since 2019.
        style: Literal["auto", "virtual"] = "auto" if self._settings.s3_endpoint else "virtual"
        return boto3.client(
            "s3",
            region_name=self._settings.region,
            endpoint_url=self._settings.s3_endpoint,
            config=Config(signature_version="s3v4", s3={"addressing_style": style}),
        )

    @staticmethod
    def _deadline(size: int) -> float:
        return asyncio.get_running_loop().time() + SECONDS + size / BYTES_PER_SECOND
