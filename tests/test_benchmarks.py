"""The benchmarks: what they count is counted right, and what is not reached is said."""

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import bytecode, cold, costs, cpu_time, imports, peers, report
from benchmarks.__main__ import GROUPS, main
from benchmarks.counting_s3 import CountingS3
from benchmarks.driven import Driven
from benchmarks.requests import health, work
from benchmarks.results import Table
from benchmarks.targets import TARGETS


def cold_starts(ours: float, mangum: float) -> dict[str, Table]:
    """Results with two cold starts, of so many milliseconds."""
    table = Table("Cold start", peers.MANGUM.name)
    table.add(peers.MANGUM.name, cold.CPU, mangum)
    table.add(peers.AFTER.name, cold.CPU, ours)
    return {"cold": table}


@pytest.mark.parametrize(("ours", "says"), [(90, "yes"), (100, "yes"), (110, "**no**")])
def test_a_target_that_is_not_reached_says_so(ours: float, says: str) -> None:
    """Each target's row has what was measured, and whether it is within the limit."""
    text = report.markdown(cold_starts(ours, 100), {})

    assert f"| cold start, of FastAPI + Mangum, CPU | 1 | {ours / 100:.3g}" in text
    row = next(line for line in text.splitlines() if line.startswith("| cold start, of FastAPI"))
    assert row.endswith(f"| {says} |")


def test_what_was_not_measured_is_not_called_reached() -> None:
    """A run of some of the benchmarks leaves the other targets open."""
    rows = [line for line in report.markdown({}, {}).splitlines() if "not measured" in line]

    assert len(rows) == len(TARGETS)
    assert not [row for row in rows if "yes" in row]


def test_a_table_has_medians_quartiles_and_ratios() -> None:
    """Five samples of one row against one of the reference."""
    table = Table("Warm", "the reference")
    table.add("the reference", "µs", 20)
    for value in (9, 1, 10, 11, 1000):
        table.add("ours", "µs", value)

    text = report.markdown({"warm": table}, {})

    assert "| ours | 10.0 (9.00 to 11.0), 0.50 *x* |" in text


def test_every_target_is_measured_by_some_group() -> None:
    """No target rests on a measurement that does not exist."""
    measurements = {name for group in GROUPS.values() for name in group}

    class Asked(dict[str, Table]):
        def __missing__(self, name: str) -> Table:
            asked.add(name)
            raise KeyError(name)

    asked: set[str] = set()
    for target in TARGETS:
        with pytest.raises(KeyError):
            target.measured(Asked())
    assert asked <= measurements


def test_an_unknown_group_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt --only does not end as an empty table."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "cold,worm"])

    with pytest.raises(SystemExit):
        main()
    assert "not worm" in capsys.readouterr().err


def test_the_s3_counts_connections_requests_and_bytes() -> None:
    """Two objects over one connection, and what was taken is not counted again."""
    with CountingS3() as s3:
        connection = http.client.HTTPConnection(s3.environ["AWS_ENDPOINT_URL"].rpartition("/")[2])
        for body in (b"four", b"sixsix"):
            connection.request("PUT", "/benchmark/key", body)
            assert connection.getresponse().read() == b""
        connection.close()
        counts, later = s3.take(), s3.take()

    assert (counts.connections, counts.requests, counts.bytes) == (1, 2, 10)
    assert (later.connections, later.requests, later.bytes) == (0, 0, 0)


@pytest.fixture
def driven() -> Iterator[Driven]:
    """FastAPI and Mangum alone, in a process of their own."""
    with Driven(peers.LIFESPAN_OFF, {"AWS_REGION": "eu-central-1"}) as process:
        yield process


def test_new_threads_are_counted(driven: Driven) -> None:
    """Mangum starts a thread for each sync endpoint, and none for an async one."""
    assert driven.run(health("/health-in-a-thread"), 3).started_threads == 3
    assert driven.run(health(), 3).started_threads == 0


def test_cpu_time_is_not_wall_time(driven: Driven) -> None:
    """An invocation that sleeps takes its time on the wall's clock alone."""
    batch = driven.run(work(on_the_loop=1, seconds=0.5), 1)

    assert batch.wall[0] >= 500_000
    assert batch.cpu < 500_000


def test_a_process_counts_with_its_children() -> None:
    """The web adapter's peer runs its application in a child."""
    with Driven(peers.WEB_ADAPTER, {}) as process:
        process.run(health(), 1)
        members = cpu_time.family(process.pid)

    assert len(members) == 2


def test_a_module_without_bytecode_is_found(tmp_path: Path) -> None:
    """A peer that would have to be compiled at its start is refused, by the module's name."""
    Path(tmp_path, "uncompiled.py").write_text("def handler(event, context): ...\n")
    peer = peers.Peer("a peer", "uncompiled.handler")

    with pytest.raises(bytecode.NotCompiled, match=r"uncompiled\.py"):
        bytecode.verify(peer, {"PYTHONPATH": str(tmp_path)}, tmp_path)


def test_the_imports_of_a_peer_are_told_by_package() -> None:
    """A package has time only where it is imported, and the rows add up to the last."""
    table = imports.by_package(1)

    columns = {
        row: {name: each.median for name, each in table.rows[row].items()} for row in table.rows
    }
    ours, mangum = f"{peers.AFTER.name} ms", f"{peers.MANGUM.name} ms"
    assert columns["handler"][ours] > 0
    assert columns["handler"][mangum] == 0
    assert columns["fastapi"][mangum] > 0
    for name in (ours, mangum):
        parts = [row[name] for label, row in columns.items() if label != imports.ALL]
        assert sum(parts) == pytest.approx(columns[imports.ALL][name])


def test_the_costs_in_the_readme_are_those_worked_out() -> None:
    """Whoever changes a price or a measured number changes what the README says."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    assert "\n".join(costs.rows()) in readme
    assert f"cost {costs.durable():.2f} dollars" in readme
