"""What became of durable tasks, as the ledger in S3 has it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from local.clients import client_for


@dataclass(frozen=True)
class TaskState:
    """One task, after an invocation of the worker."""

    id: str
    function: str
    status: str
    attempts: int
    error: str | None


class TaskReader:
    """Reads `tasks/{id}/task.json` and `state.json`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` is the worker's: where S3 is, and the bucket."""
        self._bucket = environ["BUCKET"]
        self._s3 = client_for("s3", environ)

    def tasks_of(self, record: dict[str, Any]) -> Iterator[TaskState]:
        """Return the tasks that a record of an SQS event is about, as they are now.

        None for what is no notification of a task, and for tasks that are not there any more.
        """
        for key in _keys(record["body"]):
            folder, _, name = key.rpartition("/")
            task = self._read(key)
            if task and name == "task.json":
                state = self._read(f"{folder}/state.json") or {}
                yield TaskState(
                    id=task["id"],
                    function=task["function"],
                    status=state.get("status", "QUEUED"),
                    attempts=state.get("attempts", 0),
                    error=state.get("error"),
                )

    def _read(self, key: str) -> dict[str, Any] | None:
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        content: dict[str, Any] = json.loads(body)
        return content


def _keys(body: str) -> list[str]:
    try:
        return [unquote_plus(each["s3"]["object"]["key"]) for each in json.loads(body)["Records"]]
    except (ValueError, KeyError, TypeError):
        return []
