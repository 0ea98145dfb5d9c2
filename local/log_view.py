"""A record as a person reads it."""

import json
import re
from typing import Any

from local.log_record import Record

# A terminal obeys these, and a log holds what strangers sent.
_CONTROL = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_SHOWN = {"timestamp", "level", "message", "service", "request_id", "exception"}
_LEFT_OUT = {"logger", "location", "exception_name"}
_INDENT = "    "


def pretty(record: Record, *, colours: bool) -> str:
    """Return a line: time, level, message, further keys, request; then the traceback, indented."""
    fields = record.fields
    if fields is None:
        return plain(record.line)
    level = str(fields.get("level", "?"))
    colour = _COLOURS.get(level, "") if colours else ""
    line = " ".join(
        part
        for part in (
            _dim(record.time, colours=colours),
            _coloured(f"{plain(level):<8}", colour),
            _indented(plain(_text(fields.get("message", "")))),
            *(_dim(each, colours=colours) for each in _further(fields)),
            _dim(plain(str(fields.get("request_id", ""))), colours=colours),
        )
        if part
    )
    if exception := fields.get("exception"):
        line += f"\n{_INDENT}{_coloured(_indented(plain(_text(exception))), colour)}"
    return line


def plain(text: str) -> str:
    """Return a text with nothing in it, but its newlines, that a terminal would obey."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _further(fields: dict[str, Any]) -> list[str]:
    return [
        f"{plain(key)}={_indented(plain(_text(value)))}"
        for key, value in fields.items()
        if key not in _SHOWN | _LEFT_OUT
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _indented(text: str) -> str:
    return text.replace("\n", f"\n{_INDENT}")


def _dim(text: str, *, colours: bool) -> str:
    return _coloured(text, "2" if colours and text else "")


def _coloured(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if colour else text
