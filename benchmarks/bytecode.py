"""Bytecode: compiled beforehand for every peer alike, and seen to be.

Without it a cold start measures Python's compiler.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from benchmarks.counting_s3 import CountingS3
from benchmarks.peers import ALL, Peer
from benchmarks.processes import ROOT, end_group

SOURCES = ("app", "handler", "events", "local", "benchmarks")

# PEP 552: flags of 0, then the source's time and size.
LIST = """
import importlib, importlib.util, json, os, struct, sys
module, _, attribute = sys.argv[1].rpartition(".")
import awslambdaric.bootstrap
getattr(importlib.import_module(module), attribute)

def compiled(source):
    try:
        with open(importlib.util.cache_from_source(source), "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    status = os.stat(source)
    stamp = struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size)
    return head[:4] == importlib.util.MAGIC_NUMBER and head[4:] == stamp

files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
sources = {file for file in files if file and file.endswith(".py")}
with open(sys.argv[2], "w") as file:
    json.dump(sorted(each for each in sources if not compiled(each)), file)
os._exit(0)
"""


class NotCompiled(Exception):
    """A peer would have to compile some of its modules; the message names them."""


def compile_all() -> None:
    """Compile this project and what is installed; nothing to do where it is up to date.

    Whatever PYTHONDONTWRITEBYTECODE says here: what is measured does not get it.
    """
    for folder in (*(ROOT / name for name in SOURCES), Path(sysconfig.get_path("purelib"))):
        # Whatever some package ships that is no Python of this version is nobody's import.
        compileall.compile_dir(folder, quiet=2, workers=0)


def verify_all(folder: Path) -> None:
    """Raise NotCompiled when a peer is not. ``folder`` is for temporary files."""
    with CountingS3() as s3:
        for peer in ALL:
            verify(peer, s3.environ | {"PYTHONPATH": str(ROOT)}, folder)


def verify(peer: Peer, environ: Mapping[str, str], folder: Path) -> None:
    """Raise NotCompiled when a module that is imported at the end of init has no bytecode."""
    answer = folder / "modules.json"
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-B", "-c", LIST, peer.handler, str(answer)],
        env={
            "PATH": os.environ.get("PATH", ""),
            **environ,
            **peer.environ,
            "TMPDIR": str(folder),
        },
        cwd=folder,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    code = process.wait()
    end_group(process)
    if code:
        raise RuntimeError(f"{peer.handler} cannot be imported: see its message above")
    missing = json.loads(answer.read_text(encoding="utf-8"))
    if missing:
        raise NotCompiled(f"{peer.name}: without bytecode: {', '.join(missing)}")
