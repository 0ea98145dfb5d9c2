"""A bucket with a log in it, its compactor and its readers."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from conftest import REGION, Cloud, Context
from proxy_s3 import proxy_s3

AGO = timedelta(hours=2)


@dataclass
class LogBucket:
    """The log of one test; ``expected`` are the messages of what was logged."""

    cloud: Cloud
    expected: list[str]
    environ: dict[str, str]
    when: datetime
    """The time of what was logged, in an hour that is finished."""

    @classmethod
    def make(cls, cloud: Cloud) -> LogBucket:
        """Make an empty one."""
        name = f"log-{uuid.uuid4()}"
        cloud.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        made = replace(cloud, bucket=name)
        return cls(made, [], made.environ, (datetime.now(UTC) - AGO).replace(minute=30))

    def log(self, *messages: str, at: datetime | None = None, request_id: str = "") -> str:
        """Put the object of one invocation, two hours ago if nothing else is said."""
        at = at or self.when
        lines = [json.dumps({"timestamp": stamp(at), "message": each}) for each in messages]
        self.expected += messages
        return self.put("\n".join(lines) + "\n", at, request_id)

    def put(self, text: str, at: datetime, request_id: str = "") -> str:
        """Put an object with any content."""
        name = f"{at:%Y%m%dT%H%M%S}.{at.microsecond // 1000:03d}Z"
        key = f"log/{at:%Y/%m/%d/%H}/{name}-{request_id or uuid.uuid4()}.jsonl"
        self.put_again(key, text.encode())
        return key

    def put_again(self, key: str, body: bytes) -> None:
        """Put an object under a key."""
        self.cloud.s3.put_object(Bucket=self.cloud.bucket, Key=key, Body=body)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of what is there."""
        return [each["Key"] for each in self.list(prefix)]

    def list(self, prefix: str = "") -> list[dict[str, Any]]:
        """Return what S3 lists."""
        pages = self.cloud.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.cloud.bucket, Prefix=prefix
        )
        return [each for page in pages for each in page.get("Contents", ())]

    def compact(
        self, *, grace: timedelta = timedelta(0), endpoint: str = "", remaining: float = 20.0
    ) -> dict[str, int]:
        """Run the compactor once; without grace, what a former run has merged is deleted."""
        from handler.compact import make_handler
        from handler.settings import Settings

        settings = Settings(
            bucket=self.cloud.bucket, s3_endpoint=endpoint or self.cloud.endpoint, region=REGION
        )
        return make_handler(settings, grace)({}, Context(remaining=remaining))

    def read(self, endpoint: str = "", since: timedelta = timedelta(days=2)) -> list[str]:
        """Return the messages of all records, in the order in which `make logs` shows them."""
        from local.log_place import local
        from local.log_reader import LogReader
        from local.log_record import Query
        from local.log_search import search

        environ = self.environ | ({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})
        query = Query(datetime.now(UTC) - since)

        async def messages() -> list[str]:
            found = search(LogReader(local(environ)), query)
            return [(each.fields or {}).get("message", each.line) async for each in found]

        return asyncio.run(messages())


def at_each_call(
    cloud: Cloud,
    prepare: Callable[[LogBucket], object],
    act: Callable[[LogBucket, str], object],
    between: Callable[[LogBucket], Any],
) -> Iterator[tuple[LogBucket, Any]]:
    """Do something in the middle of something else, at each moment that there is.

    ``act`` gets an endpoint, and ``between`` is called before the nth request to it, for each n,
    on a prepared bucket of its own. Yields that bucket and what ``between`` came to.
    """
    for number in itertools.count():
        log = LogBucket.make(cloud)
        prepare(log)
        results: list[Any] = []

        def before(
            n: int, at: int = number, log: LogBucket = log, results: list[Any] = results
        ) -> None:
            if n == at:
                results.append(between(log))

        with proxy_s3(cloud.endpoint) as proxy:
            proxy.before = before
            act(log, proxy.endpoint)
        if number >= len(proxy.calls):
            assert number > 5  # or there was nothing to do
            return
        yield log, results[0]


def stamp(at: datetime) -> str:
    """Return a time as records have it."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
