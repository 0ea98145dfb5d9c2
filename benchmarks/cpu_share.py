"""The share of a CPU that Lambda gives to a function of some memory, by a cgroup's quota.

"At 1,769 MB, a function has the equivalent of one vCPU", and in proportion (AWS Lambda Developer
Guide, "Configure Lambda function memory").
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FULL_MEGABYTES = 1769
PERIOD_MICROSECONDS = 20_000
"""Short, so that a start of a tenth of a second is throttled as a long one is."""

_ROOT = Path("/sys/fs/cgroup")

Enter = Callable[[int], None]


class NoQuota(Exception):
    """No CPU quota can be set here; the message says why."""


@contextmanager
def share_of(megabytes: int) -> Iterator[Enter]:
    """Yield what puts a process (by its id) under the quota; raises NoQuota.

    The processes have to be gone when the block ends.
    """
    version_1 = (_ROOT / "cpu").is_dir()
    folder = (_ROOT / "cpu" if version_1 else _ROOT) / f"afterword-benchmark-{os.getpid()}"
    quota = PERIOD_MICROSECONDS * megabytes // FULL_MEGABYTES
    try:
        folder.mkdir()
        if version_1:
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_MICROSECONDS}")
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise NoQuota(f"no CPU quota can be set here ({error})") from error
    try:
        yield lambda pid: _enter(folder, pid)
    finally:
        folder.rmdir()


def _enter(folder: Path, pid: int) -> None:
    (folder / "cgroup.procs").write_text(str(pid))
