"""The results as Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.results import Results, Table
from benchmarks.samples import short
from benchmarks.targets import TARGETS, Target

PACKAGES = ("fastapi", "mangum", "aws-lambda-powertools", "obstore", "boto3", "awslambdaric")


def machine() -> dict[str, str]:
    """Say where, and with what, it was measured."""
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def markdown(results: Results, on: dict[str, str]) -> str:
    """Return the targets, then each table."""
    parts = ["# Measurements", ", ".join(f"{name} {value}" for name, value in on.items())]
    parts += ["Medians, with the quartiles in parentheses. *x* is the ratio to the reference row."]
    parts += ["![The main figures](results.svg)"]
    parts += ["\n".join(_targets(results))]
    parts += ["\n".join(_table(table)) for table in results.values()]
    return "\n\n".join(parts) + "\n"


def _targets(results: Results) -> Iterator[str]:
    yield "## Targets\n"
    yield "| target | at most | measured | reached |"
    yield "|---|---|---|---|"
    for target in TARGETS:
        yield _target(target, results)


def _target(target: Target, results: Results) -> str:
    unit = f" {target.unit}" if target.unit else ""
    try:
        measured = target.measured(results)
    except KeyError:
        return f"| {target.text} | {target.limit:g}{unit} | not measured | |"
    reached = "yes" if measured <= target.limit else "**no**"
    return f"| {target.text} | {target.limit:g}{unit} | {short(measured)}{unit} | {reached} |"


def _table(table: Table) -> Iterator[str]:
    yield f"## {table.title}\n"
    yield " ".join(table.notes)
    if not table.rows:
        return
    columns = list(dict.fromkeys(name for row in table.rows.values() for name in row))
    yield ""
    yield f"| | {' | '.join(columns)} |"
    yield "|---" * (len(columns) + 1) + "|"
    for row in table.rows:
        yield f"| {row} | {' | '.join(_cell(table, row, column) for column in columns)} |"


def _cell(table: Table, row: str, column: str) -> str:
    samples = table.rows[row].get(column)
    if samples is None:
        return ""
    reference = table.rows.get(table.reference or "", {}).get(column)
    if reference is None or row == table.reference or reference.median == 0:
        return samples.text()
    return f"{samples.text()}, {samples.median / reference.median:.2f} *x*"
