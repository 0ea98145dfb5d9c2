"""One environment for a long time: its memory, threads and open files. And many at a time."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import ExitStack

from benchmarks import cpu_time, peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.function import FunctionProcess
from benchmarks.peers import Peer
from benchmarks.processes import ROOT
from benchmarks.results import Table
from local.runtime import Runtime

RESIDENT, THREADS, FILES, WALL, CPU = "RSS MB", "threads", "open files", "wall µs", "CPU µs"
FIRST = 2_000
STRETCH = 500
FUNCTIONS = (peers.SAME_APP, peers.SAME_APP_BEFORE)
EVENT = requests.payload(requests.work(records=1, on_the_loop=1, in_a_thread=1))

AT_A_TIME = (1, 2, 4, 8, 16)
SECONDS = 0.2


def long_life(invocations: int) -> Table:
    """Serve many invocations; a row when ``FIRST`` are done, and one at the end."""
    table = Table(
        "One environment for a long time",
        notes=[
            (
                f"{invocations:,} invocations by the runtime client, each with one record, an async"
                f" and a sync task. Times are of the last {STRETCH} invocations."
            ),
            "The bare function's memory grows by what the runtime client does not give back.",
        ],
    )
    asyncio.run(_live_all(table, invocations))
    return table


def row(peer: Peer, *, end: bool) -> str:
    """Name a row."""
    return f"{peer.name}, at the end" if end else f"{peer.name}, after {FIRST:,}"


async def _live_all(table: Table, invocations: int) -> None:
    # At the same time: it takes half as long, and memory does not mind.
    await asyncio.gather(*(_live(table, each, invocations) for each in (peers.BARE, *FUNCTIONS)))


async def _live(table: Table, peer: Peer, invocations: int) -> None:
    with CountingS3() as s3:
        async with FunctionProcess(peer, s3.environ) as function:
            for until, end in ((min(FIRST, invocations // 2), False), (invocations, True)):
                await _serve(function, until - STRETCH)
                timings = [await function.invoke(EVENT) for _ in range(STRETCH)]
                name = row(peer, end=end)
                table.add(name, RESIDENT, cpu_time.resident(function.pid) / 1e6)
                table.add(name, THREADS, cpu_time.threads(function.pid))
                table.add(name, FILES, cpu_time.open_files(function.pid))
                table.add(name, WALL, statistics.median(each.end for each in timings) * 1e6)
                table.add(name, CPU, statistics.mean(each.cpu for each in timings) * 1e6)


async def _serve(function: FunctionProcess, until: int) -> None:
    while function.invocations < until:
        await function.serve(EVENT)


def concurrency(rounds: int) -> Table:
    """Measure how long requests take that are served at the same time, in the local runtime."""
    table = Table(
        "Requests at a time",
        "1",
        [
            (
                f"{rounds} rounds; as many environments as requests, each with a task of"
                f" {SECONDS} s. Lambda gives each environment its own CPU share; here they share"
                " the cores of one machine."
            )
        ],
    )
    payload = requests.payload(requests.work(on_the_loop=1, seconds=SECONDS))
    with ExitStack() as stack:
        s3 = stack.enter_context(CountingS3())
        environ = s3.environ | {"PYTHONPATH": str(ROOT)}
        runtime = stack.enter_context(
            Runtime(peers.SAME_APP.handler, environ, cwd=ROOT, max_environments=AT_A_TIME[-1])
        )
        _serve_at_once(runtime, payload, AT_A_TIME[-1])  # starts them
        for _ in range(rounds):
            for number in AT_A_TIME:
                table.add(
                    str(number), "all done, ms", _serve_at_once(runtime, payload, number) * 1000
                )
    return table


def _serve_at_once(runtime: Runtime, payload: bytes, number: int) -> float:
    began = time.perf_counter()
    for invocation in [runtime.start(payload) for _ in range(number)]:
        invocation.end(60)
    return time.perf_counter() - began
