"""Records as they are in the log, and which of them were asked for."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from handler.log_objects import started, timestamp
from handler.spool import safe
from local.log_reader import Source

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass(order=True, frozen=True, slots=True)
class Record:
    """One line of the log, in the order of time. `fields` is None for what is no JSON object."""

    time: str
    key: str
    number: int
    line: str = field(compare=False)
    fields: dict[str, Any] | None = field(compare=False)


def records(source: Source) -> Iterator[Record]:
    """Yield the records of an object; one without a time has that of the one before it."""
    time = started(source.key)
    # What is no UTF-8 goes out again as it came in.
    for number, line in enumerate(source.body.decode(errors="surrogateescape").split("\n")):
        if line:
            fields = _fields(line)
            stamp = (fields or {}).get("timestamp")
            if isinstance(stamp, str) and _TIMESTAMP.fullmatch(stamp):
                time = stamp
            yield Record(time, source.key, number, line, fields)


def _fields(line: str) -> dict[str, Any] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


@dataclass(frozen=True)
class Query:
    """Which records were asked for; `until` is excluded."""

    since: datetime
    until: datetime | None = None
    grep: re.Pattern[str] | None = None
    request_id: str | None = None
    task: str | None = None

    def wants(self, key: str) -> bool:
        """Whether an object can have such records, by its key."""
        return self.request_id is None or key.endswith(f"Z-{safe(self.request_id)}.jsonl")

    def matches(self, record: Record) -> bool:
        """Whether this is one of them."""
        fields = record.fields or {}
        begin, end = self._times
        return (
            begin <= record.time < end
            # A line that cannot be read is its request's, since its object is.
            and self.request_id in (None, fields.get("request_id", self.request_id))
            and self.task in (None, fields.get("task_id"))
            and (self.grep is None or _is_in(self.grep, record))
        )

    @cached_property
    def _times(self) -> tuple[str, str]:
        return timestamp(self.since), timestamp(self.until) if self.until else "~"


def _is_in(pattern: re.Pattern[str], record: Record) -> bool:
    if pattern.search(record.line):
        return True
    # As people read it, without JSON's escapes.
    texts = (record.fields or {}).values()
    return any(isinstance(text, str) and pattern.search(text) for text in texts)
