"""Side-by-side measurements, each with its peers in the same run.

make bench                              all of it, in about ten minutes
make bench ARGS="--only cold,warm"      some of it
make bench ARGS=--quick                 fewer runs: to see that it works, not to quote
make bench ARGS=--write                 keep the results in benchmarks/
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    bytecode,
    cold,
    endurance,
    imports,
    instructions,
    log_path,
    report,
    response,
    s3,
    size,
    warm,
)
from benchmarks.results import Table

FOLDER = Path(__file__).parent

Measurement = Callable[[bool], Table]
"""Takes whether it is to be quick."""


def _times(measure: Callable[[int], Table], number: int, quick: int) -> Measurement:
    return lambda hurry: measure(quick if hurry else number)


def _shared(megabytes: int) -> Measurement:
    return lambda hurry: cold.shared(megabytes, 2 if hurry else 10)


def _warm(case: str) -> Measurement:
    return lambda hurry: warm.in_process(case, 3 if hurry else warm.BATCHES)


GROUPS: dict[str, dict[str, Measurement]] = {
    "cold": {
        "cold": _times(cold.full, 20, 3),
        **{f"cold {megabytes}": _shared(megabytes) for megabytes in cold.MEGABYTES},
        "log path": _times(log_path.cold, 20, 3),
        "imports": _times(imports.by_package, 5, 2),
    },
    "warm": {
        **{f"warm {case}": _warm(case) for case in warm.CASES},
        "runtime client": _times(warm.through_the_runtime_client, warm.BATCHES, 3),
    },
    "response": {"response": _times(response.waits, 10, 3)},
    "s3": {
        "growth": _times(s3.growth, 10, 3),
        "round trips": _times(s3.round_trips, 10, 3),
        "connections": _times(s3.connections, 100, 20),
        "puts": _times(s3.puts, 10, 3),
    },
    "endurance": {
        "endurance": _times(endurance.long_life, 20_000, 2_000),
        "concurrency": _times(endurance.concurrency, 5, 2),
    },
    "instructions": {"instructions": lambda _: instructions.table()},
    "size": {"size": lambda _: size.artifact()},
}


def main() -> int:
    """Measure, print, and write when asked to."""
    parser = argparse.ArgumentParser(
        prog="benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    everything = ",".join(GROUPS)
    parser.add_argument("--only", default=everything, help="of %(default)s")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--write", action="store_true", help="RESULTS.md, .svg and .json")
    options = parser.parse_args()
    groups = options.only.split(",")
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"--only takes {', '.join(GROUPS)}, not {', '.join(sorted(unknown))}")
    if options.write and (options.quick or options.only != everything):
        parser.error("--write keeps the results of a whole run: not with --only or --quick")
    on = report.machine()
    _say("compiling bytecode, and checking it")
    bytecode.compile_all()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        bytecode.verify_all(Path(folder))
    results = {}
    for group in groups:
        for name, measure in GROUPS[group].items():
            began = time.monotonic()
            results[name] = measure(options.quick)
            _say(f"{name}: {time.monotonic() - began:.0f} s")
    text = report.markdown(results, on)
    print(text, end="")
    if options.write:
        raw = {"machine": on, "tables": {name: table.to_json() for name, table in results.items()}}
        (FOLDER / "results.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
        (FOLDER / "RESULTS.md").write_text(text, encoding="utf-8")
        from benchmarks import plot  # noqa: PLC0415 - matplotlib takes a second

        plot.draw(results, FOLDER / "results.svg")
    return 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
