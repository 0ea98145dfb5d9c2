"""Dependencies point one way, and start-up imports only what the first answer needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Cloud

ALLOWED_ENVIRON = {
    "handler/compact.py",
    "handler/settings.py",
    "handler/api.py",
    "handler/worker.py",
    "app/log.py",
}


def imports(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("app", {"handler", "local", "mangum", "obstore", "boto3", "botocore", "awslambdaric"}),
        ("handler", {"local", "tests", "moto"}),
    ],
)
def test_imports_point_one_way(package: str, forbidden: set[str]) -> None:
    """``local -> handler -> app``, and the application knows nothing of Lambda."""
    modules = sorted((ROOT / package).rglob("*.py"))

    assert modules
    assert {str(m): imports(m) & forbidden for m in modules if imports(m) & forbidden} == {}


def test_the_environment_is_read_in_one_place() -> None:
    """Only the entry points, which pass it on, and the log's name look at ``os.environ``."""
    readers = {
        str(path.relative_to(ROOT))
        for package in ("app", "handler")
        for path in (ROOT / package).rglob("*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }

    assert readers <= ALLOWED_ENVIRON


def test_the_api_imports_no_boto(cloud: Cloud) -> None:
    """An SDK costs as much as FastAPI itself, and the first answer needs none.

    Powertools imports the bare ``botocore`` package for its user agent, at half a millisecond.
    """
    code = (
        "import handler.api, sys; handler.api.handler;"
        "print([m for m in ('boto3', 'botocore.session', 'local', 'moto') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=cloud.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "[]\n"


def test_the_routes_run_under_uvicorn_with_the_log_on_stdout(tmp_path: Path) -> None:
    """The same application, without Lambda; nothing is written to a local file."""
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0", "--app-dir", str(ROOT)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            assert server.stdout is not None
            line = next(line for line in server.stderr if "running on" in line)
            url = line.partition("running on ")[2].split()[0]
            answer = httpx.post(f"{url}/send-notification/ada@example.com?q=lambda", timeout=30)
            records = [server.stdout.readline() for _ in range(3)]
        finally:
            server.terminate()
            server.communicate(timeout=30)

    assert answer.json() == {"message": "Message sent"}
    assert "found query: lambda" in "".join(records)
    assert "message to ada@example.com" in "".join(records)
    assert list(tmp_path.iterdir()) == []
