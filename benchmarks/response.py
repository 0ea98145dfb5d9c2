"""How long a client waits for a response that has tasks behind it.

In the local runtime, which freezes environments between invocations as Lambda does.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import product
from random import Random

from benchmarks import peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.function import check
from benchmarks.processes import ROOT, reserved_core
from benchmarks.results import Table
from local.runtime import Runtime

WITHOUT = "no tasks, ms"
TASK_SECONDS = (0.0, 0.1, 1.0)
FUNCTIONS = (peers.MANGUM, peers.SAME_APP, peers.SAME_APP_BEFORE)
WAIT_SECONDS = 60.0


def column(seconds: float) -> str:
    """Name the column of tasks that take so long."""
    return f"tasks of {seconds:g} s, ms"


def waits(count: int) -> Table:
    """Measure the time to the response without tasks, and with an async and a sync one."""
    table = Table(
        "Time to the response",
        peers.MANGUM.name,
        [
            (
                f"{count} requests each, shuffled; an async and a sync task of the given time each."
                " An environment is frozen when its invocation has ended."
            ),
        ],
    )
    cases = {WITHOUT: requests.payload(requests.work())} | {
        column(seconds): requests.payload(
            requests.work(on_the_loop=1, in_a_thread=1, seconds=seconds)
        )
        for seconds in TASK_SECONDS
    }
    with ExitStack() as stack:
        stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        runtimes = {}
        for peer in FUNCTIONS:
            environ = s3.environ | dict(peer.environ) | {"PYTHONPATH": str(ROOT)}
            runtime = stack.enter_context(Runtime(peer.handler, environ, cwd=ROOT))
            runtimes[peer.name] = runtime
            for case in cases.values():
                _measure(runtime, case)
        # Shuffled, since the first request after a long pause takes longer, whatever it asks for.
        pairs = list(product(runtimes, cases))
        waited: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
        shuffle = Random(0).shuffle  # noqa: S311
        for _ in range(count):
            shuffle(pairs)
            for row, title in pairs:
                waited[row, title].append(_measure(runtimes[row], cases[title]))
    for (row, title), seconds in waited.items():
        for each in seconds:
            table.add(row, title, each * 1000)
    return table


def _measure(runtime: Runtime, payload: bytes) -> float:
    began = time.perf_counter()
    invocation = runtime.start(payload)
    answer = invocation.response(WAIT_SECONDS)
    waited = time.perf_counter() - began
    invocation.end(WAIT_SECONDS)
    check(answer)
    return waited
