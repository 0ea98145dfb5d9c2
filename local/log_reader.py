"""The log in S3, as it grows."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local.clients import client_for

# An object is named by the start of its invocation, and can come long after it: an environment
# that was killed uploads what it had left at its next init.
_LOOK_BACK = timedelta(hours=1)


class LogReader:
    """Finds log objects that were not there before.

    It looks when it is asked (after an invocation has ended, which is when its object must be
    there), because moto cannot call anybody here when an object comes.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ` is the function's: where S3 is, the bucket and the prefix of the log."""
        self._bucket = environ["BUCKET"]
        self._prefix = environ.get("LOG_PREFIX", "log/")
        self._seen: set[str] = set()
        self._s3 = client_for("s3", environ)

    def new_objects(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Return the address and the records of each object that came since the last call."""
        for key in self._keys():
            if key not in self._seen:
                self._seen.add(key)
                body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
                lines = body.decode().split("\n")
                yield f"s3://{self._bucket}/{key}", [json.loads(line) for line in lines if line]

    def _keys(self) -> Iterator[str]:
        since = f"{self._prefix}{datetime.now(UTC) - _LOOK_BACK:%Y/%m/%d/%H}"
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, StartAfter=since
        )
        for page in pages:
            for each in page.get("Contents", []):
                yield each["Key"]
