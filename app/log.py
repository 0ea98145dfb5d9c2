"""The application's log: one line of JSON per record, on the standard ``logging`` module.

``logger`` is Powertools' ``Logger``. Under uvicorn its records go to stdout; whoever runs the
application elsewhere sets ``destination`` and the records go there instead. ``handler`` can be
added to any other logger, the root logger for one, to send a library's records the same way.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from contextvars import ContextVar
from typing import Any, Protocol

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME") or "afterword"


class Destination(Protocol):
    """Where the records of one invocation go."""

    request_id: str

    def write(self, line: str) -> bool:
        """Take one line without its newline; return False when it can take no more."""


destination: ContextVar[Destination | None] = ContextVar("destination", default=None)

# What json.dumps(ensure_ascii=False) leaves as it is although some reader takes it for the end of
# a line (C1's NEL, U+2028, U+2029), a terminal obeys it (DEL, C1), or UTF-8 cannot encode it
# (lone surrogates).
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FIXED = frozenset(("timestamp", "level", "message", "service", "request_id", "logger", "location"))
_NOT_KEYS = _STANDARD_ATTRIBUTES | _FIXED
_quote = json.encoder.encode_basestring


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


class JsonLines(LambdaPowertoolsFormatter):
    """Formats a record as one line of JSON: ``timestamp`` (UTC), ``level``, ``message``, ...

    Keys given through ``extra``, ``append_keys`` and Powertools' other ways follow; they never
    replace the first five. An exception's traceback is the text of ``exception``.
    """

    _encode = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str
    ).encode
    _second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON without a newline in it, whatever its text contains."""
        where = destination.get() or handler.default
        message = _message(record)
        # Most records have these alone, and to put them together takes a third of an encoder's
        # time.
        text = self._json(message) if isinstance(message, dict) else _quote(_plain(message))
        request_id = f',"request_id":{_quote(where.request_id)}' if where else ""
        line = (
            f'{{"timestamp":"{self._timestamp(record)}","level":{_quote(str(record.levelname))},'
            f'"message":{text},"service":{_quote(SERVICE)}{request_id},'
            f'"logger":{_quote(str(record.name))},'
            f'"location":{_quote(f"{record.funcName}:{record.lineno}")}'
        )
        fields = self._fields(record)
        line += f",{self._json(fields)[1:]}" if fields else "}"
        return _UNSAFE.sub(_escape, line)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = self._keys(record)
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = self.formatException(record.exc_info)
            fields["exception_name"] = record.exc_info[0].__name__
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return fields

    def _json(self, value: Any) -> str:
        try:
            return self._encode(value)
        except Exception:  # noqa: BLE001
            # A key that is no string, NaN, a value that contains itself or cannot say what it is:
            # a repr loses less than no record at all.
            return self._encode({str(key): _plain(each) for key, each in value.items()})

    def _timestamp(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second[0]:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int(record.msecs):03d}Z"

    def _keys(self, record: logging.LogRecord) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        if not self.log_format.keys() <= _FIXED:
            keys |= self.log_format
        keys |= self.thread_safe_get_current_keys()
        if len(vars(record)) > len(_STANDARD_ATTRIBUTES) - 2:
            keys |= {k: v for k, v in vars(record).items() if k not in _STANDARD_ATTRIBUTES}
        if not keys:
            return keys
        return {k: v for k, v in keys.items() if v is not None and k not in _NOT_KEYS}


def _message(record: logging.LogRecord) -> Any:
    if isinstance(record.msg, dict):
        return record.msg
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - the arguments do not fit the format, or one has no text
        return f"{_plain(record.msg)} {_plain(record.args)}"


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - it is the application's, or too deep
        return f"<{type(value).__name__} without a repr>"


class RecordHandler(logging.Handler):
    """Hands each record to its invocation's destination, or to stdout when there is none.

    ``default`` serves records logged where the context of an invocation does not reach, such as
    a ``threading.Thread`` that the application started.
    """

    default: Destination | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record as one line."""
        try:
            where = destination.get() or self.default
            line = self.format(record)
            if where is None or not where.write(line):
                sys.stdout.write(line + "\n")
        except Exception:  # noqa: BLE001 - a log call must not fail its caller
            self.handleError(record)


handler = RecordHandler()
logger = Logger(
    service=SERVICE,
    logger_handler=handler,
    logger_formatter=JsonLines(),
)
# The root logger may carry the same handler; without this its records would be written twice.
logging.getLogger(logger.name).propagate = False
