"""The log is compacted, and whoever reads it finds each record once, whatever happens."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import REGION, Cloud
from deployment import Deployment
from iam import grants, needed
from log_bucket import AGO, LogBucket, at_each_call
from proxy_s3 import proxy_s3
from resolve import Resolver

from local.runtime import FunctionError

NOTHING = {"hours": 0, "parts": 0, "sources": 0, "source_bytes": 0, "part_bytes": 0}


@pytest.fixture
def log(cloud: Cloud, tmp: Any) -> LogBucket:
    """A bucket without a log."""
    return LogBucket.make(cloud)


def three_invocations(log: LogBucket) -> None:
    """Log from three, two hours ago."""
    log.log("a", "b")
    log.log("c")
    log.log("d")


def merge(log: LogBucket) -> None:
    """Log, and merge it: nothing is deleted yet."""
    three_invocations(log)
    log.compact()


def merge_some(log: LogBucket) -> None:
    """Log and merge it, and then log more."""
    merge(log)
    log.log("e")


def once(log: LogBucket) -> Counter[str]:
    """Return what a reader has to find."""
    return Counter(log.expected)


def test_a_finished_hour_becomes_one_object(log: LogBucket) -> None:
    """Its records are in it as they were, between lines that say where they come from."""
    when = log.when.replace(minute=4, second=18, microsecond=282000)
    first = log.log("a", "b", at=when)
    second = log.log("ü", at=when + timedelta(seconds=1))
    bodies = {key: log.cloud.body(key) for key in (first, second)}

    done = log.compact()

    (key,) = log.keys("compacted/")
    assert key == f"compacted/{when:%Y/%m/%d/%H}/00000.jsonl.gz"
    assert gzip.decompress(log.cloud.body(key)) == b"".join(
        json.dumps({"compacted_from": key, "bytes": len(body)}, separators=(",", ":")).encode()
        + b"\n"
        + body
        for key, body in bodies.items()
    )
    assert (done["hours"], done["parts"], done["sources"]) == (1, 1, 2)
    assert done["source_bytes"] == sum(map(len, bodies.values()))
    assert done["part_bytes"] == len(log.cloud.body(key))


def test_merged_objects_are_deleted_after_the_grace(log: LogBucket) -> None:
    """Not by the run that merged them, nor too early by one that follows."""
    three_invocations(log)
    log.compact()
    assert len(log.keys("log/")) == 3

    assert log.compact(grace=timedelta(hours=3)) == NOTHING | {"deleted": 0, "failures": 0}
    assert len(log.keys("log/")) == 3

    assert log.compact() == NOTHING | {"deleted": 3, "failures": 0}
    assert log.keys("log/") == []
    assert Counter(log.read()) == once(log)


def test_an_unfinished_hour_is_left_alone(log: LogBucket) -> None:
    """Invocations of this hour, and those of the last that may still run, are not merged."""
    now = datetime.now(UTC)
    log.log("now", at=now)
    log.log("just before", at=now - timedelta(minutes=19))

    assert log.compact() == NOTHING | {"deleted": 0, "failures": 0}


def test_an_hour_that_was_missed_is_caught_up_on(log: LogBucket) -> None:
    """Each by itself, as long as it is not older than a week."""
    now = datetime.now(UTC)
    for days in (1, 3, 6, 9):
        log.log(f"{days} days ago", at=now - timedelta(days=days))

    assert log.compact()["hours"] == 3
    log.compact()

    assert Counter(log.read(since=timedelta(days=30))) == once(log)
    (left,) = log.keys("log/")
    assert log.cloud.lines(left)[0]["message"] == "9 days ago"


def test_a_late_object_is_merged_by_itself(log: LogBucket) -> None:
    """A killed environment's upload for an hour that was compacted is a part of its own."""
    merge(log)
    log.compact()
    log.log("late")
    assert Counter(log.read()) == once(log)

    log.compact()
    assert Counter(log.read()) == once(log)
    log.compact()

    assert Counter(log.read()) == once(log)
    assert log.keys("log/") == []
    assert [key.rpartition("/")[2] for key in log.keys("compacted/")] == [
        "00000.jsonl.gz",
        "00001.jsonl.gz",
    ]


def test_an_object_that_comes_back_is_not_seen_again(log: LogBucket) -> None:
    """An environment that was killed after its upload uploads the same at its next init."""
    key = log.log("a")
    body = log.cloud.body(key)
    log.compact()
    log.compact()
    assert log.keys("log/") == []

    log.put_again(key, body)
    assert log.read() == ["a"]
    log.compact()

    assert log.read() == ["a"]
    assert log.keys("log/") == []
    assert len(log.keys("compacted/")) == 1


def test_a_compactor_that_is_killed_harms_nothing(
    cloud: Cloud, make_runtime: Callable[..., Any]
) -> None:
    """SIGKILL when a request to S3 took effect, at each of them; the next run completes it."""
    number = 0
    while True:
        log = LogBucket.make(cloud)
        merge_some(log)
        with proxy_s3(cloud.endpoint) as proxy:
            environ = log.environ | {"AWS_ENDPOINT_URL": proxy.endpoint}
            runtime = make_runtime("compact_function.handler", environ=environ)
            # What is in S3 is then as if it were killed before the next one.
            proxy.after = lambda n, at=number, runtime=runtime: n == at and runtime.kill()
            run = runtime.start({})
            try:
                run.response(timeout=30)
                break
            except FunctionError as error:
                assert error.error_type == "Runtime.ExitError"  # noqa: PT017
            runtime.close()
        assert Counter(log.read()) == once(log), number
        while any(log.compact().values()):
            assert Counter(log.read()) == once(log), number
        assert log.keys("log/") == []
        assert Counter(log.read()) == once(log), number
        number += 1
    assert number > 5


def test_two_compactors_at_once_do_not_undo_each_other(cloud: Cloud, tmp: Any) -> None:
    """At each moment of one, another finds more, merges it and deletes it: one has its way."""

    def merge_more_and_delete(log: LogBucket) -> None:
        log.log("late")
        log.compact()
        log.compact()

    for log, _ in at_each_call(
        cloud, merge_some, lambda log, to: log.compact(endpoint=to), merge_more_and_delete
    ):
        assert Counter(log.read()) == once(log)
        log.compact()
        log.compact()
        assert log.keys("log/") == []
        assert Counter(log.read()) == once(log)


def test_a_reader_sees_each_record_once_while_a_compactor_runs(cloud: Cloud, tmp: Any) -> None:
    """At each moment of a compactor's run."""
    for log, seen in at_each_call(
        cloud, merge_some, lambda log, to: log.compact(endpoint=to), LogBucket.read
    ):
        assert Counter(seen) == once(log)


@pytest.mark.parametrize(
    ("prepare", "since"), [(three_invocations, timedelta(hours=3)), (merge_some, timedelta(days=2))]
)
def test_a_compactor_can_do_all_its_work_while_a_reader_reads(
    cloud: Cloud, tmp: Any, prepare: Callable[[LogBucket], None], since: timedelta
) -> None:
    """At each moment of a read, even if it deletes at once what the reader has listed."""

    def merge_and_delete(log: LogBucket) -> None:
        log.compact()
        log.compact()

    read: list[list[str]] = []
    for log, _ in at_each_call(
        cloud, prepare, lambda log, to: read.append(log.read(to, since)), merge_and_delete
    ):
        assert Counter(read[-1]) == once(log)


def test_an_hour_that_is_too_much_for_one_run_is_gone_on_with(log: LogBucket) -> None:
    """Although the time is up at once, each run writes what it has; none of it is merged again."""
    from handler.compaction import Compaction, Tally
    from handler.settings import Settings
    from handler.store import Store

    three_invocations(log)
    hour = log.when.replace(minute=0, second=0, microsecond=0)
    settings = Settings(bucket=log.cloud.bucket, s3_endpoint=log.cloud.endpoint)

    async def run() -> Tally:
        tally = Tally()
        compaction = Compaction(Store(settings), settings, tally, 60, timedelta(hours=3))
        compaction._full = 0.0  # the time at which to write what there is
        await compaction.compact(hour)
        return tally

    for _ in range(3):
        assert asyncio.run(run()).sources == 1
        assert Counter(log.read()) == once(log)
    assert asyncio.run(run()).sources == 0
    assert len(log.keys("compacted/")) == 3


def test_a_part_has_a_size_that_fits_into_memory(
    log: LogBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit into one goes into the next, in the same run."""
    from handler import compaction

    monkeypatch.setattr(compaction, "PART_BYTES", 100_000)
    for _ in range(6):
        log.log(*(str(uuid.uuid4()) for _ in range(1500)))

    assert log.compact()["parts"] > 1

    assert all(each["Size"] < 300_000 for each in log.list("compacted/"))
    log.compact()
    assert Counter(log.read()) == once(log)


def test_a_large_object_stays_as_it_is(log: LogBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left for readers to find where it is."""
    from handler import compaction

    monkeypatch.setattr(compaction, "LARGEST_BYTES", 1000)
    large = log.log("x" * 1000)
    log.log("y")

    log.compact()
    log.compact()

    assert log.keys("log/") == [large]
    assert Counter(log.read()) == once(log)


def test_a_broken_part_stops_its_hour_and_no_other(log: LogBucket, capsys: Any) -> None:
    """What it names is unknown, so nothing is merged or deleted; the run ends as failed."""
    from handler.errors import CompactionFailed

    merge(log)
    (part,) = log.keys("compacted/")
    log.put_again(part, log.cloud.body(part)[:-20])
    log.log("another hour", at=datetime.now(UTC) - 2 * AGO)

    with pytest.raises(CompactionFailed, match="1 hours"):
        log.compact()

    assert len(log.keys("log/")) == 4
    assert len(log.keys("compacted/")) == 2
    assert part in capsys.readouterr().out


def test_text_without_a_last_newline_and_what_is_no_json_are_kept(log: LogBucket) -> None:
    """Whatever is under the prefix is merged as it is, and split as it was."""
    when = log.when
    texts = ["no newline", '{"compacted_from":"x","bytes":1}\n', "\n\nempty lines\n\n", "", "last"]
    for text in texts:
        log.put(text, when)

    log.compact()
    log.compact()

    assert log.keys("log/") == []
    assert Counter(log.read()) == Counter(
        ["no newline", '{"compacted_from":"x","bytes":1}', "empty lines", "last"]
    )


def test_what_was_done_is_counted(log: LogBucket, capsys: Any) -> None:
    """Metrics and a record per part are on standard output, with the request's id."""
    three_invocations(log)
    log.compact()

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    (blob,) = (line for line in lines if "_aws" in line)
    (record,) = (line for line in lines if "_aws" not in line)
    assert blob["HoursCompacted"] == 1
    assert blob["ObjectsCompacted"] == 3
    assert blob["FailedCompactions"] == 0
    assert blob["BytesCompacted"] == sum(each["Size"] for each in log.list("log/"))
    assert "3 objects merged into compacted/" in record["message"]
    assert record["request_id"] == blob["request_id"]


def test_the_role_grants_what_the_compactor_does_and_nothing_else(log: LogBucket) -> None:
    """Each call that it is heard to make is allowed, and each permission in S3 is used."""
    deployment = Deployment(Compact="true")
    resolve = Resolver(deployment, {"Bucket": log.cloud.bucket})
    (policy,) = deployment.resources["CompactRole"]["Properties"]["Policies"]
    statements = [resolve(each) for each in policy["PolicyDocument"]["Statement"]]
    granted = [grant for grant in grants(statements) if grant.action.startswith("s3:")]
    with proxy_s3(log.cloud.endpoint) as proxy:
        merge_some(log)
        log.compact(endpoint=proxy.endpoint)
    calls = {each for heard in proxy.heard for each in needed(heard, REGION)}

    assert {each.action for each in calls} == {each.action for each in granted}
    for call in calls:
        assert any(grant.covers(call) for grant in granted), call
    for grant in granted:
        assert any(grant.covers(call) for call in calls), grant


def test_prefixes_must_not_contain_each_other() -> None:
    """A list of the one would find the other in it."""
    from handler.errors import SettingsError
    from handler.settings import Settings

    with pytest.raises(SettingsError, match="COMPACTED_PREFIX is 'log/old/'"):
        Settings.from_environ({"BUCKET": "b", "COMPACTED_PREFIX": "log/old/"})
