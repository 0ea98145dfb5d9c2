"""POST /files: accept a file now, and summarise it behind the answer."""

from __future__ import annotations

import codecs
import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field

from app.durable import durable, reserve_id
from app.uploads import Uploads, uploads

LARGEST_FILE = 4_500_000
"""Bytes in a request: what Lambda's 6 MB of payload hold, in base64 and with the form around it."""
LARGEST_UPLOAD = 5_000_000_000
"""Bytes in an upload past the API: what S3 takes in one PUT."""
LONGEST_NAME = 100
HEAD_BYTES = 4096

router = APIRouter()

_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Accepted(BaseModel):
    """The answer to a file: where it went, under the id of its task."""

    id: str
    name: str
    size: int


class Wanted(BaseModel):
    """An upload that a client is about to make."""

    name: str = Field(min_length=1, max_length=1000)
    size: int = Field(gt=0, le=LARGEST_UPLOAD)
    media_type: str = Field("application/octet-stream", pattern=r"^[\w.+-]+/[\w.+-]+$")


class Upload(BaseModel):
    """Where to PUT a file: with exactly these headers, then ``POST /files?upload={id}``."""

    id: str
    url: str
    headers: dict[str, str]


def kept() -> Uploads:
    """Return where uploads are kept; 503 where the application runs without it."""
    store = uploads.get()
    if store is None:
        raise HTTPException(503, "files are not kept here; `make run` keeps them")
    return store


Kept = Annotated[Uploads, Depends(kept)]


@durable(attempts=5)
async def summarise(key: str) -> dict[str, Any]:
    """Return size, SHA-256 and media type of a file, and lines and words when it is text."""
    summary = Summary()
    async for chunk in kept().read(key):
        summary.add(chunk)
    return summary.result()


@router.post(
    "/files",
    status_code=202,
    responses={404: {"description": "There is no such upload"}, 413: {"description": "Too large"}},
)
async def accept(
    background_tasks: BackgroundTasks,
    store: Kept,
    file: UploadFile | None = None,
    upload: Annotated[
        str | None, Query(description="the id of an upload, instead of a file")
    ] = None,
) -> Accepted:
    """Keep a file and answer; a durable task summarises it."""
    if (file is None) == (upload is None):
        raise _invalid("send either a form with the field `file`, or an upload's id")
    accepted = await (_keep(file, store) if file else _take(upload or "", store))
    background_tasks.add_task(summarise, f"uploads/{accepted.id}/{accepted.name}")
    return accepted


@router.post("/uploads", status_code=201)
async def offer(wanted: Wanted, store: Kept) -> Upload:
    """Say where to PUT a file that is too large for a request."""
    task_id = reserve_id()
    key = f"uploads/{task_id}/{safe_name(wanted.name)}"
    url = await store.presign(key, wanted.size, wanted.media_type)
    headers = {"Content-Length": str(wanted.size), "Content-Type": wanted.media_type}
    return Upload(id=task_id, url=url, headers=headers)


async def _keep(file: UploadFile, store: Uploads) -> Accepted:
    size = file.size or 0
    if size == 0:
        raise _invalid("the file is empty")
    if size > LARGEST_FILE:
        raise HTTPException(
            413, f"the file has {size} bytes; up to {LARGEST_FILE} fit, POST /uploads takes more"
        )
    task_id, name = reserve_id(), safe_name(file.filename or "")
    given = file.content_type or ""
    media_type = given if _MEDIA_TYPE.fullmatch(given) else "application/octet-stream"
    await store.write(f"uploads/{task_id}/{name}", file.file, size, media_type)
    return Accepted(id=task_id, name=name, size=size)


async def _take(upload: str, store: Uploads) -> Accepted:
    found = await store.find(upload)
    if found is None:
        raise HTTPException(404, f"there is no upload {upload!r}")
    key, size = found
    if size == 0:
        raise _invalid("the file is empty")
    return Accepted(id=reserve_id(upload), name=key.rpartition("/")[2], size=size)


def _invalid(reason: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", "file"), "msg": reason, "input": None}]
    )


def safe_name(name: str) -> str:
    """Return a file name that is one segment of a key, and harmless in a shell or a header."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return _UNSAFE.sub("_", last).strip("._")[-LONGEST_NAME:] or "file"


class Summary:
    """What is counted of a file, chunk by chunk."""

    def __init__(self) -> None:
        self._size = self._lines = self._words = 0
        self._digest = hashlib.sha256()
        self._head = b""
        self._decoder: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
        self._in_word = False
        self._ends_in_newline = True

    def add(self, chunk: bytes) -> None:
        """Count one more chunk."""
        self._size += len(chunk)
        self._digest.update(chunk)
        self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._count(chunk, final=False)

    def result(self) -> dict[str, Any]:
        """Return the summary."""
        self._count(b"", final=True)
        summary = {
            "size": self._size,
            "sha256": self._digest.hexdigest(),
            "media_type": self._media_type(),
        }
        if self._decoder is not None:
            lines = self._lines + (not self._ends_in_newline)
            summary |= {"lines": lines, "words": self._words}
        return summary

    def _count(self, chunk: bytes, *, final: bool) -> None:
        if self._decoder is None:
            return
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self._decoder = None
            return
        if "\0" in text:
            self._decoder = None
            return
        if text:
            self._lines += text.count("\n")
            self._words += len(text.split()) - (self._in_word and not text[0].isspace())
            self._in_word = not text[-1].isspace()
            self._ends_in_newline = text[-1] == "\n"

    def _media_type(self) -> str:
        # Imported by the worker's first file, not at start-up.
        import puremagic  # noqa: PLC0415

        try:
            known: str = puremagic.from_string(self._head, mime=True)
        except (puremagic.PureError, ValueError):
            known = ""
        return known or ("text/plain" if self._decoder is not None else "application/octet-stream")
