"""The CPU time and memory of other processes, from the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its descendants: all threads, ended ones too.

    By clock_getcpuclockid(3), to the nanosecond; /proc/PID/stat has it in hundredths of a second.
    """
    return sum(time.clock_gettime(_clock_of(each)) for each in family(pid))


def _clock_of(pid: int) -> int:
    clock = ctypes.c_int()
    if error := _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(error, f"no CPU clock of process {pid}")
    return clock.value


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has ended since it was listed
            children += map(int, (thread / "children").read_text().split())
    return [pid, *(each for child in children for each in family(child))]


def peak_memory(pid: int) -> int:
    """Return the largest resident set so far, in bytes, summed over a process and descendants."""
    return sum(_status(each, "VmHWM") for each in family(pid)) * 1024


def resident(pid: int) -> int:
    """Return the resident set now, in bytes."""
    return _status(pid, "VmRSS") * 1024


def threads(pid: int) -> int:
    """Return the number of threads."""
    return _status(pid, "Threads")


def open_files(pid: int) -> int:
    """Return the number of open file descriptors."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _status(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has no {name}: it has ended")
    return int(found[1])
