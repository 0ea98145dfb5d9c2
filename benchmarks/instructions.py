"""What a warm invocation executes, counted: the same on a busy machine as on an idle one.

Machine instructions are counted by callgrind. It slows a function down by much, and by more while
it counts: so it begins when the function is warm. perf(1) would count at full speed, where there
are hardware counters: virtual machines, those of CI among them, mostly have none.

Bytecode instructions are counted by Python itself, everywhere; they miss what is done in C. Where
both can be counted, their ratios of one peer to another differ by a hundredth or two.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any, cast

from benchmarks import peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.driven import Context
from benchmarks.peers import Peer
from benchmarks.processes import ROOT, end_group
from benchmarks.results import Table

WARM_UP, COUNTED = 20, 50
BYTECODE, MACHINE = "bytecode instructions", "machine instructions"
CALLGRIND = ("valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null")
FUNCTIONS = (peers.MANGUM, peers.LIFESPAN_OFF, peers.DIRECT, peers.SAME_APP)


class NotCountable(Exception):
    """Something needed to count is not here; the message says what."""


def table() -> Table:
    """Count both kinds for each of the peers that share an application."""
    made = Table(
        "Instructions of a warm invocation",
        peers.MANGUM.name,
        [f"GET /health; the mean of {COUNTED} calls of the handler after {WARM_UP} others."],
    )
    for peer in FUNCTIONS:
        made.add(peer.name, BYTECODE, bytecode(peer))
        try:
            made.add(peer.name, MACHINE, machine(peer))
        except NotCountable as error:
            made.notes.append(f"{error}.")
    return made


def bytecode(peer: Peer) -> float:
    """Return the bytecode instructions of one invocation, on the thread of the handler."""
    with CountingS3() as s3, _counted(peer, s3.environ) as (process, _):
        _say(process, "count")
        return float(_heard(process)) / COUNTED


def machine(peer: Peer) -> float:
    """Return the machine instructions of one invocation, outside of the kernel.

    Raises NotCountable where there is no valgrind.
    """
    for tool in ("valgrind", "callgrind_control"):
        if shutil.which(tool) is None:
            raise NotCountable(f"{tool} is not installed")
    with CountingS3() as s3, _counted(peer, s3.environ, CALLGRIND) as (process, environ):
        done = subprocess.run(  # noqa: S603 - our own
            ["callgrind_control", "-i", "on", str(process.pid)],  # noqa: S607
            env=environ,  # its pipe is in TMPDIR
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or "OK" not in done.stdout:
            raise NotCountable(f"callgrind cannot be controlled: {done.stdout}{done.stderr}")
        _say(process, "run")
        _heard(process)
        _, errors = process.communicate("exit\n")
    found = re.search(r"Collected : (\d+)", errors)
    if found is None:
        raise NotCountable(f"callgrind did not count: {errors}")
    return int(found[1]) / COUNTED


@contextmanager
def _counted(
    peer: Peer, aws: Mapping[str, str], prefix: tuple[str, ...] = ()
) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        environ = {
            "PATH": os.environ.get("PATH", ""),
            **aws,
            **peer.environ,
            "PYTHONPATH": str(ROOT),
            # Hashes order sets, and what is looked up in them.
            "PYTHONHASHSEED": "0",
            "TMPDIR": folder,
        }
        process = subprocess.Popen(  # noqa: S603 - our own
            [*prefix, sys.executable, "-m", "benchmarks.instructions", peer.handler],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _heard(process)
            yield process, environ
        finally:
            end_group(process)
            process.communicate()


def _say(process: subprocess.Popen[str], word: str) -> None:
    stdin = cast("IO[str]", process.stdin)
    stdin.write(f"{word}\n")
    stdin.flush()


def _heard(process: subprocess.Popen[str]) -> str:
    line = cast("IO[str]", process.stdout).readline()
    if not line:
        raise RuntimeError(f"the function ended: {process.communicate()[1]}")
    return line


def _serve(name: str) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    module, _, attribute = name.rpartition(".")
    handler = getattr(importlib.import_module(module), attribute)
    text = json.dumps(requests.health())
    calls = [(json.loads(text), Context()) for _ in range(WARM_UP + COUNTED)]
    for event, context in calls[:WARM_UP]:
        handler(event, context)
    print("warm", file=answers, flush=True)
    counter = _Bytecode()
    if sys.stdin.readline() == "count\n":
        sys.settrace(counter.trace)
    for event, context in calls[WARM_UP:]:
        handler(event, context)
    sys.settrace(None)
    print(counter.count, file=answers, flush=True)
    sys.stdin.readline()
    os._exit(0)  # as Lambda ends it: what comes now is not part of an invocation


class _Bytecode:
    def __init__(self) -> None:
        self.count = 0

    def trace(self, frame: FrameType, what: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += what == "opcode"
        return self.trace


if __name__ == "__main__":
    _serve(sys.argv[1])
