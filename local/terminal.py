"""What `make run` shows."""

import sys

from local.http_front import Exchange
from local.invocation import Report
from local.task_reader import TaskState


class Terminal:
    """Prints lines, whole, from any thread."""

    def __init__(self, *, verbose: bool) -> None:
        """With `verbose`, metrics are shown too."""
        self._verbose = verbose
        self._dim = "\033[2m{}\033[0m" if sys.stdout.isatty() else "{}"

    def say(self, line: str) -> None:
        """Print a line of our own."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def function_output(self, line: str) -> None:
        """Print a line that the function printed."""
        if self._verbose or not _is_metrics(line):
            self.say(self._dim.format(f"  | {line}"))

    def log_object(self, address: str, lines: list[str]) -> None:
        """Print the records of a log object, as they are in S3."""
        self.say(self._dim.format(f"  {address}"))
        for line in lines:
            self.say(f"  {line}")

    def request(self, exchange: Exchange, report: Report, seconds: float) -> None:
        """Print a request whose invocation ended after `seconds`."""
        request = exchange.request
        parts = [
            f"{request.method} {request.target} {exchange.response.status}",
            f"answered after {_ms(exchange.answered - exchange.began)}",
            f"tasks ended after {_ms(seconds)}",
            f"cold, init {report.init_ms:.0f} ms" if report.cold else "warm",
        ]
        if report.status != "ok":
            parts.append(f"the function ended with: {report.status}")
        self.say(" | ".join(parts))

    def task(self, task: TaskState, report: Report) -> None:
        """Print a durable task as an invocation of the worker has left it."""
        parts = [
            f"task {task.id} {task.function} {task.status}",
            f"attempt {task.attempts}",
            f"{report.duration_ms:.0f} ms",
            f"cold, init {report.init_ms:.0f} ms" if report.cold else "warm",
        ]
        if task.error:
            parts.append(task.error)
        self.say(" | ".join(parts))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _is_metrics(line: str) -> bool:
    # CloudWatch embedded metric format: one JSON object with this member.
    return line.startswith("{") and '"_aws"' in line
