"""A handler in a process of its own that does nothing but call it, as often as it is told to.

What an invocation costs without the runtime client and the Runtime API. The process reads commands,
one JSON object a line, and answers each likewise:

    python -m benchmarks.driven benchmarks.peers.bare.handler
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any, Self, cast

from benchmarks import cpu_time
from benchmarks.peers import Peer
from benchmarks.processes import ROOT, end_group, on

STARTED = "started"


class Context:
    """What Lambda passes to a handler beside the event."""

    function_name = "benchmark"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:benchmark"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds left before the function times out."""
        return 60_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some invocations: microseconds of wall time each, of CPU time on average; threads started."""

    wall: list[float]
    cpu: float
    started_threads: int


class Driven:
    """The process, started with the block and ended with it."""

    def __init__(self, peer: Peer, environ: Mapping[str, str], core: int | None = None) -> None:
        self._tmpdir = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._environ = {
            "PATH": os.environ.get("PATH", ""),
            **environ,
            **peer.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": self._tmpdir.name,
        }
        self._peer = peer
        self._core = core

    def __enter__(self) -> Self:
        """Start; the first batch waits for the imports."""
        with on(self._core):
            self._process = subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, "-m", "benchmarks.driven", self._peer.handler],
                env=self._environ,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        end_group(self._process)
        self._process.communicate()
        self._tmpdir.cleanup()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def run(self, event: dict[str, Any], count: int) -> Batch:
        """Call the handler ``count`` times; raises RuntimeError when an answer is not a 200."""
        stdin, stdout = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        stdin.write(json.dumps({"event": event, "count": count}) + "\n")
        stdin.flush()
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self._peer.handler} ended: see its message above")
        return Batch(**json.loads(line))


def _serve(name: str) -> None:
    # What a handler prints goes where it costs least, alike for all.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    threads = _count_threads()
    module, _, attribute = name.rpartition(".")
    handler = getattr(importlib.import_module(module), attribute)
    for line in sys.stdin:
        command = json.loads(line)
        before = threads[STARTED]
        wall, cpu = _run(handler, command["event"], command["count"])
        answer = {"wall": wall, "cpu": cpu, "started_threads": threads[STARTED] - before}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _run(handler: Any, event: dict[str, Any], count: int) -> tuple[list[float], float]:
    # An event of its own for each, as the runtime client makes it: a handler may change it.
    text = json.dumps(event)
    calls = [(json.loads(text), Context()) for _ in range(count)]
    wall, now = [], time.perf_counter_ns
    cpu = cpu_time.cpu_seconds(os.getpid())
    for given, context in calls:
        began = now()
        answer = handler(given, context)
        wall.append((now() - began) / 1000)
        if answer["statusCode"] != 200:  # noqa: PLR2004
            raise RuntimeError(f"unexpected answer: {answer}")
    return wall, (cpu_time.cpu_seconds(os.getpid()) - cpu) * 1e6 / count


def _count_threads() -> Counter[str]:
    # Only the number: to keep the threads would make memory grow with them.
    started: Counter[str] = Counter()
    start = threading.Thread.start

    def counted(self: threading.Thread) -> None:
        started[STARTED] += 1
        start(self)

    threading.Thread.start = counted  # type: ignore[method-assign]
    return started


if __name__ == "__main__":
    _serve(sys.argv[1])
