"""What an invocation did, as one blob of CloudWatch's embedded metric format on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from app.background import Outcome
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.compaction import Tally

NAMES = {
    "succeeded": "TasksSucceeded",
    "failed": "TasksFailed",
    "timed out": "TasksTimedOut",
    "not started": "TasksNotStarted",
    "handed off": "TasksHandedOff",
}

_quote = json.encoder.encode_basestring_ascii

Value = tuple[str, str, float]
"""A metric's name, unit and value."""

LONGEST_LIST = 200
"""Tasks named in a blob: a log event of CloudWatch's has at most 256 KiB."""


@dataclass(slots=True)
class Counts:
    """What is counted of one invocation."""

    request_id: str
    outcomes: Sequence[Outcome] = field(default_factory=list)
    records: int = 0
    failed_flush: bool = False
    cold_start: bool = False


def emit(settings: Settings, counts: Counts) -> None:
    """Print the blob; nothing at all for an invocation in which there was nothing to count."""
    numbers: dict[str, int] = {}
    spent = 0.0
    for outcome in counts.outcomes:
        name = NAMES[outcome.status]
        numbers[name] = numbers.get(name, 0) + 1
        spent += outcome.seconds
    values: list[Value] = [(name, "Count", number) for name, number in numbers.items()]
    if counts.outcomes:
        values.append(("TaskTime", "Milliseconds", round(spent * 1000, 3)))
    if counts.records:
        values.append(("LogRecords", "Count", counts.records))
    if counts.failed_flush:
        values.append(("FailedFlushes", "Count", 1))
    if counts.cold_start:
        values.append(("ColdStarts", "Count", 1))
    if values:
        tasks = ", ".join(map(_task, counts.outcomes[:LONGEST_LIST]))
        _print(settings, counts.request_id, values, f'"tasks": [{tasks}], ' if tasks else "")


def _task(outcome: Outcome) -> str:
    task = f'"task": {_quote(outcome.task)}, "status": "{outcome.status}"'
    return f'{{{task}, "duration_ms": {outcome.seconds * 1000:.3f}}}'


def emit_compaction(settings: Settings, request_id: str, tally: Tally) -> None:
    """Print the blob of a run of the compactor, zeros too: no blob means that it did not run."""
    values: list[Value] = [
        ("HoursCompacted", "Count", tally.hours),
        ("ObjectsCompacted", "Count", tally.sources),
        ("BytesCompacted", "Bytes", tally.source_bytes),
        ("CompactedBytes", "Bytes", tally.part_bytes),
        ("ObjectsDeleted", "Count", tally.deleted),
        ("FailedCompactions", "Count", tally.failures),
    ]
    _print(settings, request_id, values)


def _print(settings: Settings, request_id: str, values: Sequence[Value], tasks: str = "") -> None:
    # Put together by hand: each request with a task would pay for an encoder.
    metrics = tuple([(name, unit) for name, unit, _ in values])
    directive = _directive(settings.metrics_namespace, metrics)
    numbers = ", ".join([f'"{name}": {value}' for name, _, value in values])
    sys.stdout.write(
        f'{{"_aws": {{"Timestamp": {time.time_ns() // 1_000_000},'
        f' "CloudWatchMetrics": [{directive}]}},'
        f' "service": {_quote(settings.service)}, "request_id": {_quote(request_id)},'
        f" {tasks}{numbers}}}\n"
    )


@lru_cache
def _directive(namespace: str, metrics: tuple[tuple[str, str], ...]) -> str:
    # By the "Embedded metric format specification" in the CloudWatch user guide. Powertools'
    # Metrics print the same, and take several times as long to do it, which each request would pay.
    directive = {
        "Namespace": namespace,
        "Dimensions": [["service"]],
        "Metrics": [{"Name": name, "Unit": unit} for name, unit in metrics],
    }
    return json.dumps(directive)
