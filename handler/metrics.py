"""What an invocation did, as one blob of CloudWatch's embedded metric format on stdout."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import (
    AmazonCloudWatchEMFProvider,
)

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
    values: list[tuple[str, MetricUnit, float]] = [
        (NAMES[status], MetricUnit.Count, number)
        for status, number in Counter(outcome.status for outcome in counts.outcomes).items()
    ]
    if counts.outcomes:
        spent = sum(outcome.seconds for outcome in counts.outcomes)
        values.append(("TaskTime", MetricUnit.Milliseconds, round(spent * 1000, 3)))
    if counts.records:
        values.append(("LogRecords", MetricUnit.Count, counts.records))
    if counts.failed_flush:
        values.append(("FailedFlushes", MetricUnit.Count, 1))
    if counts.cold_start:
        values.append(("ColdStarts", MetricUnit.Count, 1))
    if values:
        _print(_blob(settings, counts, values))


def emit_compaction(settings: Settings, request_id: str, tally: Tally) -> None:
    """Print the blob of a run of the compactor, zeros too: no blob means that it did not run."""
    metrics = _metrics(
        settings,
        request_id,
        [
            ("HoursCompacted", MetricUnit.Count, tally.hours),
            ("ObjectsCompacted", MetricUnit.Count, tally.sources),
            ("BytesCompacted", MetricUnit.Bytes, tally.source_bytes),
            ("CompactedBytes", MetricUnit.Bytes, tally.part_bytes),
            ("ObjectsDeleted", MetricUnit.Count, tally.deleted),
            ("FailedCompactions", MetricUnit.Count, tally.failures),
        ],
    )
    _print(metrics.serialize_metric_set())


def _print(blob: object) -> None:
    sys.stdout.write(json.dumps(blob) + "\n")


def _blob(
    settings: Settings, counts: Counts, values: list[tuple[str, MetricUnit, float]]
) -> object:
    metrics = _metrics(settings, counts.request_id, values)
    if counts.outcomes:
        tasks = [
            {"task": o.task, "status": o.status, "duration_ms": round(o.seconds * 1000, 3)}
            for o in counts.outcomes[:LONGEST_LIST]
        ]
        metrics.add_metadata("tasks", tasks)
    return metrics.serialize_metric_set()


def _metrics(
    settings: Settings, request_id: str, values: list[tuple[str, MetricUnit, float]]
) -> AmazonCloudWatchEMFProvider:
    metrics = AmazonCloudWatchEMFProvider(
        namespace=settings.metrics_namespace, service=settings.service
    )
    for name, unit, value in values:
        metrics.add_metric(name, unit, value)
    metrics.add_metadata("request_id", request_id)
    return metrics
