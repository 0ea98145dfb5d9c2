"""The log's table, view and saved queries, in SQLite, whose SQL they share as far as it is used.

Athena itself cannot be had here. Not tested, then: that Athena takes the view's encoding, that it
reads only the hours that a query names, and what the JSON SerDe makes of odd values.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from deployment import Document, written
from log_bucket import LogBucket

DATABASE = "afterword_database"


def table_input(name: str) -> Document:
    """Return what the template says of a table."""
    table: Document = written()["Resources"][name]["Properties"]["TableInput"]
    return table


def view_definition(bucket: str) -> Document:
    """Return the view as Trino would read it."""
    separator, parts = table_input("LogView")["ViewOriginalText"]["Fn::Join"]
    encoded = [
        base64.b64encode(
            each["Fn::Base64"]["Fn::Sub"]
            .replace("${Bucket}", bucket)
            .replace("${LogDatabase}", DATABASE)
            .encode()
        ).decode()
        if isinstance(each, dict)
        else each
        for each in parts
    ]
    text = separator.join(encoded)
    prefix, suffix = "/* Presto View: ", " */"
    assert text.startswith(prefix)
    assert text.endswith(suffix)
    definition: Document = json.loads(base64.b64decode(text[len(prefix) : -len(suffix)]))
    return definition


class Athena:
    """The tables of a bucket as it is, queried so long from now."""

    def __init__(self, log: LogBucket, later: timedelta = timedelta(0)) -> None:
        self._now = datetime.now(UTC) + later
        self._database = sqlite3.connect(":memory:")
        self._database.create_function("now", 0, self._now.isoformat)
        self._database.create_function("date_add", 3, _date_add)
        self._database.create_function("date_format", 2, _date_format)
        columns = [
            each["Name"] for each in table_input("LogObjects")["StorageDescriptor"]["Columns"]
        ]
        hidden = ["kind", "hour", "$path", "$file_modified_time"]
        names = ", ".join(f'"{each}"' for each in [*columns, *hidden])
        self._database.execute(f"CREATE TABLE objects ({names})")
        marks = ", ".join("?" * (len(columns) + len(hidden)))
        for kind in ("log", "compacted"):
            for each in log.list(f"{kind}/"):
                where = [
                    kind,
                    each["Key"].removeprefix(f"{kind}/").rpartition("/")[0],
                    f"s3://{log.cloud.bucket}/{each['Key']}",
                    each["LastModified"].isoformat(),
                ]
                rows = [[*row, *where] for row in _rows(log.cloud.body(each["Key"]), columns)]
                self._database.executemany(f"INSERT INTO objects VALUES ({marks})", rows)
        view = view_definition(log.cloud.bucket)["originalSql"]
        self._database.execute(f"CREATE VIEW log AS {view}")
        self._database.row_factory = sqlite3.Row

    def messages(self) -> list[str]:
        """Return the message of each row of the view."""
        return [row["message"] for row in self._database.execute("SELECT message FROM log")]

    def saved(self, name: str, *parameters: str) -> list[dict[str, Any]]:
        """Return the rows of a saved query."""
        query = written()["Resources"][name]["Properties"]["QueryString"]
        return [dict(row) for row in self._database.execute(query, parameters)]


def _rows(body: bytes, columns: list[str]) -> list[list[Any]]:
    text = zlib.decompress(body, wbits=31) if body.startswith(b"\x1f\x8b") else body
    rows = []
    for line in text.decode().split("\n"):
        if line:
            record = json.loads(line)
            rows.append([_value(record.get(column)) for column in columns])
    return rows


def _value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _date_add(unit: str, number: int, time: str) -> str:
    return (datetime.fromisoformat(time) + timedelta(**{f"{unit}s": number})).isoformat()


def _date_format(time: str, pattern: str) -> str:
    return datetime.fromisoformat(time).strftime(pattern)
