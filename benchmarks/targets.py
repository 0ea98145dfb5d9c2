"""What this project set itself, in figures that are compared with each run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import cold, endurance, log_path, peers, response, s3, warm
from benchmarks.peers import Peer
from benchmarks.results import Results

AFTER, SAME = peers.AFTER.name, peers.SAME_APP.name
MANGUM, OFF = peers.MANGUM.name, peers.LIFESPAN_OFF.name


@dataclass(frozen=True)
class Target:
    """``measured`` is to be at most ``limit``; it raises KeyError when there is no measurement."""

    text: str
    limit: float
    measured: Callable[[Results], float]
    unit: str = ""


def _cold(reference: str, column: str) -> Callable[[Results], float]:
    return lambda results: results["cold"].ratio(AFTER, reference, column)


def _warm(case: str, reference: str, column: str) -> Callable[[Results], float]:
    return lambda results: results[f"warm {case}"].ratio(SAME, reference, column)


def _log_path(column: str) -> Callable[[Results], float]:
    return lambda results: results["log path"].ratio(log_path.OURS, log_path.BOTO3, column)


def _new_threads(results: Results) -> float:
    tables = (results["warm sync"], results["warm sync-1"])
    return max(table.rows[SAME][warm.THREADS].most for table in tables)


def _record(column: str) -> Callable[[Results], float]:
    """Return what one more record costs, before the flush and in it, in microseconds."""

    def slope(results: Results) -> float:
        growth = results["growth"]
        few, many = (growth.median(f"{number:,}", column) for number in (10, 1_000))
        return (many - few) * 1000 / (1_000 - 10)

    return slope


def _twenty_records(results: Results) -> float:
    put_per_record = results["warm records-20"].median(peers.PUT_PER_RECORD.name, warm.WALL)
    return 20 * _record(s3.WALL)(results) / put_per_record


def _twenty_records_and_flush(reference: str) -> Callable[[Results], float]:
    def ratio(results: Results) -> float:
        table = results["warm records-20"]
        cost = table.median(SAME, warm.WALL) - results["warm records-0"].median(SAME, warm.WALL)
        return cost / table.median(reference, warm.WALL)

    return ratio


def _put(results: Results) -> float:
    name = peers.PUT_BY_STORE.name
    return results["puts"].ratio(name, peers.PUT_BY_BOTO3.name, s3.PUT_CPU)


def _respond_first(seconds: float) -> Callable[[Results], float]:
    def difference(results: Results) -> float:
        table, row = results["response"], peers.SAME_APP_BEFORE.name
        return table.median(row, response.column(seconds)) - table.median(row, response.WITHOUT)

    return difference


def _round_trips(results: Results) -> float:
    table, latency = results["round trips"], s3.LATENCIES[-1]
    slow, fast = (table.median(s3.latency_row(each), s3.WALL) for each in (latency, 0.0))
    return float(round((slow - fast) / 1000 / latency))


def _connections(column: str) -> Callable[[Results], float]:
    return lambda results: results["connections"].median(SAME, column)


def _not_at_init(results: Results) -> float:
    table = results["connections"]
    return table.median(SAME, s3.CONNECTIONS) - table.median(SAME, s3.AT_INIT)


def _growth(column: str) -> Callable[[Results], float]:
    def growth(results: Results) -> float:
        table = results["endurance"]
        return max(
            table.median(endurance.row(peer, end=True), column)
            - table.median(endurance.row(peer, end=False), column)
            for peer in endurance.FUNCTIONS
        )

    return growth


def _resident(*, without: Peer | None = None) -> Callable[[Results], float]:
    def resident(results: Results) -> float:
        table = results["endurance"]

        def of(peer: Peer, *, end: bool) -> float:
            return table.median(endurance.row(peer, end=end), endurance.RESIDENT)

        other = of(without, end=True) - of(without, end=False) if without else 0.0
        return max(
            (of(peer, end=True) - other) / of(peer, end=False) for peer in endurance.FUNCTIONS
        )

    return resident


TARGETS = (
    Target("cold start, of FastAPI + Mangum, CPU", 1.00, _cold(MANGUM, cold.CPU)),
    Target("cold start, of FastAPI + Mangum, wall", 1.00, _cold(MANGUM, cold.WALL)),
    Target("... of that with boto3 clients, CPU", 0.50, _cold(peers.CLIENTS.name, cold.CPU)),
    Target("... of that with boto3 clients, wall", 0.50, _cold(peers.CLIENTS.name, cold.WALL)),
    Target("... of that with Powertools, CPU", 0.40, _cold(peers.OBSERVED.name, cold.CPU)),
    Target("... of that with Powertools, wall", 0.40, _cold(peers.OBSERVED.name, cold.WALL)),
    Target("log path in a cold start, of boto3's, CPU", 0.15, _log_path(log_path.CPU)),
    Target("log path in a cold start, of boto3's, wall", 0.15, _log_path(log_path.WALL)),
    Target("warm, async, of Mangum with lifespan off", 0.76, _warm("async", OFF, warm.WALL)),
    Target("... CPU", 0.76, _warm("async", OFF, warm.CPU)),
    Target("warm, async, of Mangum", 0.45, _warm("async", MANGUM, warm.WALL)),
    Target("... CPU", 0.45, _warm("async", MANGUM, warm.CPU)),
    Target("warm, sync endpoint, of Mangum", 0.35, _warm("sync", MANGUM, warm.WALL)),
    Target("... CPU", 0.35, _warm("sync", MANGUM, warm.CPU)),
    Target("warm, one sync task, of Mangum", 0.35, _warm("sync-1", MANGUM, warm.WALL)),
    Target("... CPU", 0.35, _warm("sync-1", MANGUM, warm.CPU)),
    Target("new threads after the first call", 0, _new_threads),
    Target("one more record", 15, _record(s3.WALL), "µs"),
    Target("... CPU", 15, _record(s3.CPU), "µs"),
    Target("20 records, of put_object for each", 0.01, _twenty_records),
    Target("... with their flush", 0.01, _twenty_records_and_flush(peers.PUT_PER_RECORD.name)),
    Target(
        "... of a client and put_object for each, with their flush",
        0.01,
        _twenty_records_and_flush(peers.CLIENT_PER_RECORD.name),
    ),
    Target(
        "requests for 1,000 records",
        1,
        lambda results: results["growth"].median("1,000", s3.REQUESTS),
    ),
    Target("CPU of a put, of boto3's", 0.12, _put),
    Target("respond first, tasks of 0.1 s, longer by", 2, _respond_first(0.1), "ms"),
    Target("respond first, tasks of 1 s, longer by", 2, _respond_first(1.0), "ms"),
    Target("round trips of a flush", 1, _round_trips),
    Target("connections to S3 in all", 1, _connections(s3.CONNECTIONS)),
    Target("connections to S3 made after init", 0, _not_at_init),
    Target("peak memory, of FastAPI + Mangum", 1.15, _cold(MANGUM, cold.MEMORY)),
    Target(
        "peak memory, of that with boto3 and Powertools",
        0.52,
        _cold(peers.OBSERVED.name, cold.MEMORY),
    ),
    Target("RSS at the end, of that after 2,000 invocations", 1.02, _resident()),
    Target("... less the bare function's growth", 1.02, _resident(without=peers.BARE)),
    Target("threads more at the end", 0, _growth(endurance.THREADS)),
    Target("open files more at the end", 0, _growth(endurance.FILES)),
)
