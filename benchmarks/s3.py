"""What the log costs: in requests, bytes, time, connections; and what a put costs."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import ExitStack

from benchmarks import peers, requests
from benchmarks.counting_s3 import CountingS3
from benchmarks.driven import Driven
from benchmarks.function import FunctionProcess
from benchmarks.peers import Peer
from benchmarks.processes import reserved_core
from benchmarks.results import Table
from benchmarks.tls import certificate

REQUESTS, BYTES, WALL, CPU = "requests", "bytes", "wall ms", "CPU ms"
CONNECTIONS, AT_INIT = "connections in all", "connections at init"
RECORDS = (1, 10, 100, 1_000, 10_000)
FIRST, LATER = "first invocation, ms", "later ones, ms"
LATENCIES = (0.0, 0.02, 0.04)
PUT_CPU, PUT_WALL = "CPU µs", "wall µs"


def growth(batches: int) -> Table:
    """Measure how requests, bytes and time grow with the records of an invocation."""
    table = Table(
        "Log, by records per invocation",
        notes=[
            (
                f"{batches} batches of 5 calls of the handler each: the median call's wall time,"
                " the mean of the rest."
            )
        ],
    )
    with ExitStack() as stack:
        core = stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        driven = stack.enter_context(Driven(peers.SAME_APP, s3.environ, core))
        driven.run(requests.work(records=10), 20)
        for _ in range(batches):
            for number in RECORDS:
                s3.take()
                batch = driven.run(requests.work(records=number), 5)
                counts, row = s3.take(), f"{number:,}"
                table.add(row, REQUESTS, counts.requests / 5)
                table.add(row, BYTES, counts.bytes / 5)
                table.add(row, WALL, statistics.median(batch.wall) / 1000)
                table.add(row, CPU, batch.cpu / 1000)
    return table


def round_trips(batches: int) -> Table:
    """Measure how the time of a flush grows with S3's latency: as often as it waits for S3."""
    table = Table(
        "Flush, by S3's latency",
        notes=[
            (
                f"{batches} batches of 5 calls with one record each. The row of a latency less the"
                " row of 0, in units of the latency, is the number of round trips."
            ),
        ],
    )
    with ExitStack() as stack:
        core = stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        driven = stack.enter_context(Driven(peers.SAME_APP, s3.environ, core))
        driven.run(requests.work(records=1), 20)
        for _ in range(batches):
            for latency in LATENCIES:
                s3.latency = latency
                batch = driven.run(requests.work(records=1), 5)
                table.add(latency_row(latency), WALL, statistics.median(batch.wall) / 1000)
    return table


def latency_row(seconds: float) -> str:
    """Name the row of a latency."""
    return f"{seconds * 1000:.0f} ms"


def connections(invocations: int) -> Table:
    """Count the TCP connections that an environment opens, by the runtime client."""
    table = Table(
        "Connections to S3",
        notes=[
            (
                f"{invocations} invocations with one record each; over TLS, with a certificate of"
                " the benchmark's own."
            ),
        ],
    )
    for peer in (peers.PUT_PER_RECORD, peers.SAME_APP):
        asyncio.run(_connections(table, peer, invocations))
    return table


async def _connections(table: Table, peer: Peer, invocations: int) -> None:
    event = requests.payload(requests.work(records=1))
    with certificate() as tls, CountingS3(tls.context) as s3:
        async with FunctionProcess(peer, s3.environ | tls.environ) as function:
            at_init = s3.take()
            for number in range(invocations):
                timing = await function.invoke(event)
                table.add(peer.name, LATER if number else FIRST, timing.end * 1000)
            later = s3.take()
    table.add(peer.name, AT_INIT, at_init.connections)
    table.add(peer.name, CONNECTIONS, at_init.connections + later.connections)
    table.add(peer.name, REQUESTS, later.requests / invocations)


def puts(batches: int, count: int = 200, size: int = 1000) -> Table:
    """Measure the CPU time of a put by itself."""
    table = Table(
        "One put",
        peers.PUT_BY_BOTO3.name,
        [f"{batches} batches of {count} objects of {size:,} bytes each, in turn."],
    )
    event = {"puts": count, "size": size}
    with ExitStack() as stack:
        core = stack.enter_context(reserved_core())
        s3 = stack.enter_context(CountingS3())
        driven = {
            peer.name: stack.enter_context(Driven(peer, s3.environ, core))
            for peer in (peers.PUT_BY_BOTO3, peers.PUT_BY_STORE)
        }
        for process in driven.values():
            process.run(event, 1)
        for _ in range(batches):
            for row, process in driven.items():
                batch = process.run(event, 1)
                table.add(row, PUT_CPU, batch.cpu / count)
                table.add(row, PUT_WALL, batch.wall[0] / count)
    return table
