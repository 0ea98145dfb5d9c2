"""The artifact's size, by package: what `make build` uploads."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from benchmarks.processes import ROOT
from benchmarks.results import Table

UNZIPPED, ZIPPED = "unzipped MB", "zipped MB"
ARCHITECTURE = "arm64"
ALL = "all"
SMALL_BYTES = 100_000
"""What has less than this is one of the others."""
OTHERS = "others"


def artifact() -> Table:
    """Build the artifact and weigh it."""
    table = Table(
        f"Artifact for {ARCHITECTURE}",
        notes=[
            (
                "By what lies at its top, compiled bytecode included where a Python of the"
                " runtime's version was found."
            )
        ],
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        target = Path(folder, "artifact")
        command = [sys.executable, str(ROOT / "package/build.py"), ARCHITECTURE, str(target)]
        built = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if built.returncode:
            table.notes = [f"Not measured: the build failed: {built.stderr.strip()[-300:]}"]
            return table
        weights = _weigh(target)
    for name, (unzipped, zipped) in weights.items():
        table.add(name, UNZIPPED, unzipped / 1e6)
        table.add(name, ZIPPED, zipped / 1e6)
    return table


def _weigh(target: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes of each package, unzipped and zipped, the largest first."""
    unzipped: Counter[str] = Counter()
    zipped: Counter[str] = Counter()
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(target.rglob("*")):
            if not path.is_file():
                continue
            name = path.relative_to(target)
            archive.write(path, name)
            info = archive.getinfo(name.as_posix())
            for package in (name.parts[0].partition("-")[0], ALL):
                unzipped[package] += info.file_size
                zipped[package] += info.compress_size
    weights = {name: (size, zipped[name]) for name, size in unzipped.most_common()}
    small = {name for name, (size, _) in weights.items() if size < SMALL_BYTES}
    others = [weights.pop(name) for name in small]
    return weights | {OTHERS: (sum(each for each, _ in others), sum(each for _, each in others))}
