"""`make run`, as a person sees it: one command, the address, the log, and a clean end."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import httpx
import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
PROMPT = 60.0  # seconds, for a machine that is busy with other things


class Run:
    """`python -m local`, or another module of it, in a process, and what it prints."""

    def __init__(self, *arguments: str, module: str = "local", prompt: float = PROMPT) -> None:
        """Start it on a free port; each line has to come within `prompt` seconds."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, "--port", str(self.port), *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._prompt = prompt
        self._lines: Queue[str] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("(the end)")

    def all(self, *patterns: str) -> list[re.Match[str]]:
        """Return a match for each pattern, in whatever order their lines come."""
        found: dict[str, re.Match[str]] = {}
        while missing := [pattern for pattern in patterns if pattern not in found]:
            match = self.until("|".join(f"(?:{pattern})" for pattern in missing))
            for pattern in missing:
                if alone := re.search(pattern, match.string):
                    found[pattern] = alone
        return [found[pattern] for pattern in patterns]

    def until(self, pattern: str) -> re.Match[str]:
        """Return the match in the first line from here on that has one."""
        while True:
            try:
                line = self._lines.get(timeout=self._prompt)
            except Empty:
                line = "(too late)"
            if line in ("(the end)", "(too late)"):
                pytest.fail(f"no line with {pattern!r} {line}")
            if match := re.search(pattern, line):
                return match

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; returns the exit status and what is on standard error."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        """Wait for the end; returns the exit status and what is on standard error."""
        assert self.process.stderr is not None
        status = self.process.wait(PROMPT)
        self._reader.join()
        with self.process.stderr as stderr:
            message = stderr.read()
        if self.process.stdout:
            self.process.stdout.close()
        return status, message


@pytest.fixture
def run() -> Iterator[Run]:
    """Run it until it serves."""
    run = Run("--respond", "before-tasks", "--environments", "2")
    run.until("Ctrl-C ends everything")
    yield run
    if run.process.poll() is None:
        run.end(signal.SIGTERM)


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


def is_running(pid: int) -> bool:
    """Return whether there is a process, other than a finished one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send(run: Run, target: str) -> httpx.Response:
    """POST to the application."""
    return httpx.post(f"http://127.0.0.1:{run.port}{target}", timeout=PROMPT, trust_env=False)


def test_a_request_is_answered_and_its_records_are_shown(run: Run) -> None:
    """The documented example works, and both records are printed as they are in S3."""
    answer = send(run, "/send-notification/ada@example.com?q=lambda")
    assert (answer.status_code, answer.json()) == (200, {"message": "Message sent"})
    # The object may land, and be shown, before the line of its own request is.
    line, key, *shown = run.all(
        r"^POST \S+ 200 \| answered after (\d+) ms \| tasks ended after (\d+) ms",
        r"s3://\S+/log/\S+Z-(\S+)\.jsonl",
        r"\{.*found query.*\}",
        r"\{.*message to.*\}",
    )
    assert "cold" in line.string
    records = [json.loads(each[0]) for each in shown]
    assert [record["message"] for record in records] == [
        "found query: lambda",
        "message to ada@example.com",
    ]
    assert {record["request_id"] for record in records} == {key[1]}
    # As README.md and `make logs` show them.
    assert all(each[0] == json.dumps(json.loads(each[0]), separators=(",", ":")) for each in shown)


def test_a_durable_task_is_run_and_shown(run: Run) -> None:
    """A file is accepted, its task runs in the worker, and its status can be asked for."""
    url = f"http://127.0.0.1:{run.port}"
    answer = httpx.post(
        f"{url}/files", files={"file": ("a.txt", b"one two")}, timeout=PROMPT, trust_env=False
    )
    assert answer.status_code == 202
    shown = run.until(r"^task (\S+) (\S+) (\S+) \| attempt 1 \| \d+ ms \| (cold|warm)")
    task_id = answer.headers["Location"].rpartition("/")[2]
    assert shown.groups()[:3] == (task_id, "app.files.summarise", "SUCCEEDED")
    status = httpx.get(f"{url}{answer.headers['Location']}", timeout=PROMPT, trust_env=False).json()
    assert (status["status"], status["result"]["words"]) == ("SUCCEEDED", 2)


def test_the_second_request_is_warm(run: Run) -> None:
    """An idle environment is used again."""
    for state in ("cold", "warm"):
        assert send(run, "/send-notification/ada@example.com").status_code == 200
        assert state in run.until("^POST ").string


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything(run: Run, number: signal.Signals) -> None:
    """After Ctrl-C or SIGTERM no process is left, frozen ones included, and nothing was wrong."""
    assert send(run, "/send-notification/ada@example.com").status_code == 200
    run.until("^POST ")
    children = descendants(run.process.pid)
    assert len(children) >= 2
    assert run.end(number) == (0, "")
    assert not [child for child in children if is_running(child)]


@pytest.mark.skipif(not shutil.which("setpriv"), reason="what asks the kernel for it is missing")
def test_not_even_sigkill_leaves_a_process(run: Run) -> None:
    """A program that was killed outright takes its frozen environments along."""
    assert send(run, "/send-notification/ada@example.com").status_code == 200
    run.until("^POST ")
    children = descendants(run.process.pid)
    assert len(children) >= 2
    run.end(signal.SIGKILL)
    pause = threading.Event()
    for _ in range(1000):
        if not [child for child in children if is_running(child)]:
            return
        pause.wait(0.01)
    pytest.fail(f"still running: {children}")


def test_signals_that_come_together_end_it_once(run: Run) -> None:
    """Ctrl-C and a terminal that is closed at the same time are no traceback."""
    run.process.send_signal(signal.SIGSTOP)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        run.process.send_signal(number)

    assert run.end(signal.SIGCONT) == (0, "")


def test_a_signal_at_the_start_ends_everything() -> None:
    """Ctrl-C while things are still being made is no traceback either."""
    run = Run()
    run.until("^Starting")
    status, message = run.end(signal.SIGINT)
    assert (status, message) == (130, "")


def test_a_port_in_use_is_one_clear_line() -> None:
    """The port is named, on standard error, with what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "local", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROMPT,
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line
    assert ended.stdout == ""


def test_no_docker_is_one_clear_line() -> None:
    """`make run-sam` says what it misses, on standard error."""
    ended = subprocess.run(
        [sys.executable, "-m", "local.sam", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": "unix:///dev/null"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PROMPT,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("cannot run without Docker: ")


def test_nobodys_own_settings_get_in_the_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A profile, endpoints and files that are for the real AWS are not looked at."""
    (tmp_path / "config").write_text("this is [not a configuration")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    run = Run()
    run.until("Ctrl-C ends everything")
    assert send(run, "/send-notification/ada@example.com").status_code == 200
    assert json.loads(run.until(r"\{.*\}")[0])["message"] == "message to ada@example.com"
    assert run.end(signal.SIGTERM) == (0, "")
