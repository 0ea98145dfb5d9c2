"""The warm path: what one more invocation costs."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from benchmarks import peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.driven import Driven
from benchmarks.function import FunctionProcess
from benchmarks.peers import Peer
from benchmarks.processes import reserved_core
from benchmarks.results import Table

WALL, CPU, THREADS = "wall µs", "CPU µs", "new threads"
BATCHES = 15
FRAMEWORKS = (peers.MANGUM, peers.LIFESPAN_OFF, peers.DIRECT, peers.SAME_APP)
EVERYONE = (
    peers.BARE,
    peers.POWERTOOLS,
    *FRAMEWORKS,
    peers.AFTER,
    peers.WEB_ADAPTER,
)
LOGGING = (peers.PUT_PER_RECORD, peers.SAME_APP)

Case = tuple[str, Sequence[Peer], dict[str, Any], int]
"""Its title, who takes part, the event, invocations of a batch."""

CASES: dict[str, Case] = {
    "async": ("async endpoint, no tasks", EVERYONE, requests.health(), 200),
    "sync": ("sync endpoint", FRAMEWORKS, requests.health("/health-in-a-thread"), 100),
    "async-1": ("1 async task", FRAMEWORKS, requests.work(on_the_loop=1), 100),
    "async-10": ("10 async tasks", FRAMEWORKS, requests.work(on_the_loop=10), 30),
    "sync-1": ("1 sync task", FRAMEWORKS, requests.work(in_a_thread=1), 100),
    "sync-10": ("10 sync tasks", FRAMEWORKS, requests.work(in_a_thread=10), 30),
    "records-0": ("0 records", LOGGING, requests.work(records=0), 100),
    "records-10": ("10 records", LOGGING, requests.work(records=10), 10),
    "records-20": (
        "20 records",
        (*LOGGING, peers.CLIENT_PER_RECORD),
        requests.work(records=20),
        5,
    ),
    "records-1000": ("1,000 records", (peers.SAME_APP,), requests.work(records=1000), 5),
}


def in_process(name: str, batches: int = BATCHES) -> Table:
    """Measure one case by calls of the handler in a process that does nothing else."""
    title, functions, event, count = CASES[name]
    table = Table(
        f"Warm, {title}",
        functions[0].name if functions is not EVERYONE else peers.MANGUM.name,
        [
            (
                f"{batches} batches of {count} calls of the handler each, in turn, after one to"
                " warm up; the wall times are medians of a batch, the CPU times its mean."
            )
        ],
    )
    with ExitStack() as stack:
        core = stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        driven = {
            peer.name: stack.enter_context(Driven(peer, s3.environ, core)) for peer in functions
        }
        for process in driven.values():
            process.run(event, count)
        for _ in range(batches):
            for row, process in driven.items():
                batch = process.run(event, count)
                table.add(row, WALL, statistics.median(batch.wall))
                table.add(row, CPU, batch.cpu)
                table.add(row, THREADS, batch.started_threads)
    return table


def through_the_runtime_client(batches: int = BATCHES, count: int = 100) -> Table:
    """Measure every peer with the runtime client and the Runtime API around it."""
    table = Table(
        "Warm, through the runtime client",
        peers.MANGUM.name,
        [
            (
                f"{batches} batches of {count} invocations each, in turn; awslambdaric and the HTTP"
                " of the Runtime API are in every row: the bare function's is what they cost."
            ),
        ],
    )
    functions = (*EVERYONE, peers.BEFORE)
    asyncio.run(_measure(table, functions, batches, count))
    return table


async def _measure(table: Table, functions: Sequence[Peer], batches: int, count: int) -> None:
    event = requests.payload(requests.health())
    async with AsyncExitStack() as stack:
        core = stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        started = {}
        for peer in functions:
            function = FunctionProcess(peer, s3.environ, core=core)
            started[peer.name] = await stack.enter_async_context(function)
            for _ in range(count):
                await function.invoke(event)
        for _ in range(batches):
            for row, function in started.items():
                timings = [await function.invoke(event) for _ in range(count)]
                table.add(row, WALL, statistics.median(each.response for each in timings) * 1e6)
                table.add(row, CPU, statistics.mean(each.cpu for each in timings) * 1e6)
