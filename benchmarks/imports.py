"""What the imports of a cold start cost, by package: `python -X importtime`, added up."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

from benchmarks import peers
from benchmarks.peers import Peer
from benchmarks.processes import ROOT, environ, on, reserved_core
from benchmarks.results import Table

FUNCTIONS = (peers.MANGUM, peers.OBSERVED, peers.AFTER)
ALL, OTHERS, STANDARD = "all", "others", "Python's own"
SMALL_MS = 1.0
"""What takes less than this, wherever it is imported, is one of the others."""

# As in a function: the runtime client is there, and looks the handler up.
IMPORT = """
import awslambdaric.bootstrap, importlib
getattr(importlib.import_module({!r}), {!r})
import os
os._exit(0)
"""
# Nobody listens there: what connects at init gives up at once.
NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| \s*(\S+)")


def by_package(runs: int) -> Table:
    """Add up the time of each package's modules, without that of what they import."""
    table = Table(
        "Imports of a cold start",
        notes=[
            (
                f"{runs} fresh processes each, by `python -X importtime`, which itself takes some."
                " What a module does while it is imported counts, such as to make an application;"
                " what the module imports counts where it belongs."
            )
        ],
    )
    measured = {peer.name: [_run(peer) for _ in range(runs)] for peer in FUNCTIONS}
    packages = _large([each for times in measured.values() for each in times])
    for name, times in measured.items():
        for each in times:
            large = {package: each.get(package, 0.0) for package in packages}
            whole = sum(each.values())
            rows = large | {OTHERS: whole - sum(large.values()), ALL: whole}
            for row, spent in rows.items():
                table.add(row, f"{name} ms", spent)
    return table


def _large(runs: list[dict[str, float]]) -> list[str]:
    """Return the packages that ever took long, the longest first."""
    longest: dict[str, float] = {}
    for times in runs:
        for package, spent in times.items():
            longest[package] = max(spent, longest.get(package, 0.0))
    return [
        each for each in sorted(longest, key=longest.__getitem__)[::-1] if longest[each] >= SMALL_MS
    ]


def _run(peer: Peer) -> dict[str, float]:
    module, _, attribute = peer.handler.rpartition(".")
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        reserved_core() as core,
        on(core),
    ):
        ended = subprocess.run(  # noqa: S603 - our own
            [sys.executable, "-X", "importtime", "-c", IMPORT.format(module, attribute)],
            env={**environ(folder), **NOWHERE, **peer.environ},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    return _add_up(ended.stderr)


def _add_up(lines: str) -> dict[str, float]:
    """Return the milliseconds of each package in what `-X importtime` prints."""
    spent: dict[str, float] = {}
    for microseconds, module in _LINE.findall(lines):
        top = module.partition(".")[0]
        package = STANDARD if top in sys.stdlib_module_names else top
        spent[package] = spent.get(package, 0.0) + int(microseconds) / 1000
    return spent
