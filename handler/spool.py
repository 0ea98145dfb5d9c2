"""The records of one invocation, spooled to the local disk as they are logged.

A spool outlives the process: Lambda keeps ``/tmp`` when it resets an execution environment, so what
a killed process had logged is there for the next one to upload.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import BinaryIO

_UNSAFE_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_ID = 128
_MAPPED_BYTES = 65_536
"""From here on a spool is mapped. To map a smaller one takes longer than to read it."""


class Spool:
    """A file of records, one line each, named like the object that it becomes.

    The file is made with the first record. It is locked as long as its process lives, which tells
    a spool that is in use from one that was left over.
    """

    def __init__(self, directory: Path, request_id: str, started: float) -> None:
        self.request_id = request_id
        self.records = 0
        self._size = 0
        self._descriptor: int | None = None
        self._closed = False
        # Re-entrant: a finaliser may log while a record is being written.
        self._lock = RLock()
        self._directory = directory
        self._started = started

    @cached_property
    def path(self) -> Path:
        """The file. It has the name of the object that it becomes."""
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._started))
        milliseconds = int(self._started * 1000) % 1000
        return self._directory / f"{stamp}.{milliseconds:03d}Z-{safe(self.request_id)}.jsonl"

    def write(self, line: str) -> bool:
        """Append one record; return False when the spool is closed or the disk takes no more."""
        data = line.encode() + b"\n"
        with self._lock:
            if self._closed:
                return False
            try:
                if self._descriptor is None:
                    self._descriptor = _open(self.path)
                if os.write(self._descriptor, data) != len(data):
                    os.ftruncate(self._descriptor, self._size)
                    return False
            except OSError:
                return False
            self._size += len(data)
            self.records += 1
            return True

    def close(self) -> None:
        """Take no more records. The lock is kept until ``remove``."""
        with self._lock:
            self._closed = True

    def content(self) -> bytes | mmap.mmap:
        """Return the records: many are mapped, so that the memory they take does not grow.

        By descriptor, since the application may have cleaned the folder meanwhile.
        """
        assert self._descriptor is not None  # noqa: S101 - there are records
        if self._size < _MAPPED_BYTES:
            return os.pread(self._descriptor, self._size, 0)
        return _map(self._descriptor)

    def remove(self) -> None:
        """Delete the file: its records are where they belong."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def safe(request_id: str) -> str:
    """Return a request id as a name can have it."""
    return _UNSAFE_IN_A_NAME.sub("_", request_id)[:_LONGEST_ID]


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _map(descriptor: int) -> mmap.mmap:
    return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)


def directory() -> Path:
    """Return the folder for spools, made if need be: in ``/tmp``, the only place to write to."""
    path = Path(tempfile.gettempdir()) / "afterword"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def key(prefix: str, path: Path) -> str:
    """Return the key of the object that a spool becomes: ``log/YYYY/MM/DD/HH/`` and its name."""
    year, month, day, hour = path.name[:4], path.name[4:6], path.name[6:8], path.name[9:11]
    return f"{prefix}{year}/{month}/{day}/{hour}/{path.name}"


def left_over(folder: Path) -> Iterator[tuple[Path, mmap.mmap | None]]:
    """Yield each spool whose process is gone with its records, None without any; oldest first.

    A spool is locked while it is looked at.
    """
    for path in sorted(folder.glob("*.jsonl")):
        try:
            with path.open("rb+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _drop_torn_record(file)
                status = os.fstat(file.fileno())
                if status.st_nlink:  # else another process has just dealt with it
                    yield path, _map(file.fileno()) if status.st_size else None
        except OSError:  # in use, or no spool at all
            continue


def _drop_torn_record(file: BinaryIO) -> None:
    """Cut off a record that the kill interrupted; show what there is of it."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        whole = content.rfind(b"\n") + 1
        torn = content[whole:]
    if torn:
        sys.stdout.write(torn.decode(errors="replace") + "\n")
        file.truncate(whole)
