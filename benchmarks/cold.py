"""Cold start: from the start of a process to its first answer, by the real runtime client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from benchmarks import cpu_time, peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.cpu_share import FULL_MEGABYTES, NoQuota, share_of
from benchmarks.function import FunctionProcess
from benchmarks.peers import Peer
from benchmarks.processes import reserved_core
from benchmarks.results import Table
from benchmarks.tls import certificate

WALL, CPU, INIT, MEMORY = "wall ms", "CPU ms", "init wall ms", "peak MB"
MEGABYTES = (512, 1024)
NOT_HERE = (peers.DIRECT, peers.CLIENT_PER_RECORD, peers.SAME_APP_BEFORE)
"""What starts as another peer does."""
FUNCTIONS = [each for each in peers.ALL if each not in NOT_HERE]
SHARED_PEERS = (peers.MANGUM, peers.OBSERVED, peers.AFTER)
EVENT = requests.payload(requests.health())


def full(runs: int) -> Table:
    """Measure every peer on a whole core: a function of 1,769 MB."""
    table = Table(
        f"Cold start, one core ({FULL_MEGABYTES} MB)",
        peers.MANGUM.name,
        [
            f"{runs} fresh processes each, in turn, on one core: awslambdaric, init, GET /health.",
            "wall and CPU: to the first answer; peak: VmHWM after it, with child processes.",
            "S3 answers over TLS: whoever connects at init pays for it here.",
        ],
    )
    asyncio.run(_measure(table, FUNCTIONS, runs))
    return table


def shared(megabytes: int, runs: int) -> Table:
    """Measure some peers with the CPU share of a smaller function."""
    table = Table(
        f"Cold start, CPU share of {megabytes} MB",
        peers.MANGUM.name,
        [f"{runs} runs each; {megabytes}/{FULL_MEGABYTES} of a core by a cgroup's CPU quota."],
    )
    try:
        with share_of(megabytes) as enter:
            asyncio.run(_measure(table, SHARED_PEERS, runs, enter))
    except NoQuota as error:
        table.notes = [f"Not measured: {error}."]
    return table


async def _measure(
    table: Table, functions: Sequence[Peer], runs: int, enter: Callable[[int], None] | None = None
) -> None:
    with reserved_core() as core, certificate() as tls, CountingS3(tls.context) as s3:
        environ = s3.environ | tls.environ
        for _ in range(runs):
            for peer in functions:
                async with FunctionProcess(peer, environ, core=core, enter=enter) as function:
                    timing = await function.first(EVENT)
                    peak = cpu_time.peak_memory(function.pid)
                table.add(peer.name, WALL, timing.response * 1000)
                table.add(peer.name, CPU, timing.cpu * 1000)
                table.add(peer.name, INIT, function.init.end * 1000)
                table.add(peer.name, MEMORY, peak / 1e6)
