"""What the way to S3 costs in a cold start: ours, and boto3's."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from benchmarks.processes import ROOT, environ, on, reserved_core
from benchmarks.results import Table

WALL, CPU = "wall ms", "CPU ms"

OURS, BOTO3 = "afterword's log, its store", "boto3 and an S3 client"
PATHS = {
    BOTO3: "import boto3; boto3.client('s3')",
    OURS: """
import app.log
from handler.log_store import LogStore
from handler.settings import Settings
from handler.store import Store
LogStore(Store(Settings.from_environ(os.environ)), "log/")
""",
}
# What every FastAPI function on Lambda has imported anyway does not count.
MEASURE = """
import json, os, time
import awslambdaric.bootstrap, fastapi, mangum
wall, cpu = time.perf_counter(), time.process_time()
{path}
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def cold(runs: int) -> Table:
    """Measure both in fresh processes."""
    table = Table(
        "Log path in a cold start",
        BOTO3,
        [f"{runs} fresh processes each, in turn, which have awslambdaric, FastAPI and Mangum."],
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, reserved_core() as core:
        for _ in range(runs):
            for row, path in PATHS.items():
                wall, cpu = _run(path, environ(folder), core)
                table.add(row, WALL, wall * 1000)
                table.add(row, CPU, cpu * 1000)
    return table


def _run(path: str, variables: dict[str, str], core: int) -> tuple[float, float]:
    with on(core):
        process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-c", MEASURE.format(path=path)],
            env=variables,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{path!r} failed: see its message above")
    wall, cpu = json.loads(output)
    return wall, cpu
