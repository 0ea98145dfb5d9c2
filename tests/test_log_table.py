"""The log can be asked with SQL: each record is there once, whatever the compactor has done."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from athena import DATABASE, Athena, table_input, view_definition
from conftest import Cloud
from deployment import Deployment, written
from log_bucket import LogBucket, stamp

from handler.compact import GRACE, LOOK_BACK, RESERVE_SECONDS, VISIBLE
from handler.settings import Settings

LATER = timedelta(hours=2)
# Athena's quota for a query that reads (DML), in minutes.
QUERY = timedelta(minutes=30)
TYPES = {"string": "varchar", "int": "integer", "double": "double"}


@pytest.fixture
def log(cloud: Cloud, tmp: Any) -> LogBucket:
    """A bucket with the log of some invocations in it."""
    log = LogBucket.make(cloud)
    log.log("a", "b")
    log.log("c")
    log.log("now", at=datetime.now(UTC))
    return log


def once(log: LogBucket) -> Counter[str]:
    """Return what a query has to find."""
    return Counter(log.expected)


@pytest.mark.parametrize("later", [timedelta(0), LATER])
def test_a_merged_object_that_is_not_deleted_yet_is_not_counted_twice(
    log: LogBucket, later: timedelta
) -> None:
    """Neither right after the merge, when queries do not see it, nor later, when they do."""
    assert Counter(Athena(log, later).messages()) == once(log)
    log.compact(grace=GRACE)
    assert len(log.keys("compacted/")) == 1
    assert Counter(Athena(log, later).messages()) == once(log)


@pytest.mark.parametrize("deleted", [1, 2])
def test_a_deletion_that_was_cut_off_loses_nothing(log: LogBucket, deleted: int) -> None:
    """Some of what was merged is gone, the rest is not."""
    log.compact(grace=GRACE)
    for key in log.keys("log/")[:deleted]:
        log.cloud.s3.delete_object(Bucket=log.cloud.bucket, Key=key)

    assert Counter(Athena(log, LATER).messages()) == once(log)


def test_late_objects_and_such_as_come_back_are_counted_once(log: LogBucket) -> None:
    """Before they are merged, after, and when they are deleted."""
    first = log.keys("log/")[0]
    body = log.cloud.body(first)
    log.compact()
    log.compact()
    log.log("late")
    log.put_again(first, body)
    for _ in range(3):
        assert Counter(Athena(log, LATER).messages()) == once(log)
        log.compact()
    assert len(log.keys("log/")) == 1


def test_a_query_sees_the_same_of_an_hour_in_all_its_lists() -> None:
    """It lists while it runs: no part may become visible, no object go, in the meantime."""
    longest = timedelta(seconds=written()["Resources"]["CompactFunction"]["Properties"]["Timeout"])

    # A part is dated when it begins to be written, and is there when its compactor ends.
    assert longest + timedelta(seconds=RESERVE_SECONDS) < VISIBLE
    # What a part replaces is there for as long as any query that takes no notice of it.
    assert VISIBLE + QUERY <= GRACE
    sql = view_definition("bucket")["originalSql"]
    hours = int(VISIBLE / timedelta(hours=1))
    assert sql.count(f"\"$file_modified_time\" < date_add('hour', -{hours}, now())") == 2


def test_what_failed_today_is_found(cloud: Cloud, tmp: Any) -> None:
    """Background tasks and durable ones, the last first; not what succeeded or failed before."""
    log = LogBucket.make(cloud)
    now = datetime.now(UTC)
    for number, status in enumerate(
        ("failed", "timed out", "not started", "FAILED", "SUCCEEDED", "QUEUED")
    ):
        task(log, now + timedelta(milliseconds=number), f"tasks.{number}", status)
    task(log, now - timedelta(days=1), "tasks.yesterday", "failed")

    rows = Athena(log).saved("FailedTasksToday")

    assert [row["task"] for row in rows] == ["tasks.3", "tasks.2", "tasks.1", "tasks.0"]
    assert rows[3]["exception"] == "Traceback"


def test_the_slowest_tasks_are_found(cloud: Cloud, tmp: Any) -> None:
    """Of the last day, the slowest first."""
    log = LogBucket.make(cloud)
    now = datetime.now(UTC)
    for number in (2, 10, 1):
        task(log, now, f"tasks.{number}", "SUCCEEDED", number + 0.5)
    task(log, now - timedelta(days=3), "tasks.old", "SUCCEEDED", 99.0)
    log.log("no task", at=now)

    rows = Athena(log).saved("SlowestTasks")

    assert [row["duration_ms"] for row in rows] == [10.5, 2.5, 1.5]


def test_the_records_of_a_request_are_found(cloud: Cloud, tmp: Any) -> None:
    """In order, and no others."""
    log = LogBucket.make(cloud)
    at = log.when
    lines = [
        {"timestamp": stamp(at + timedelta(seconds=n)), "message": {"n": n}, "request_id": "r-1"}
        for n in range(2)
    ]
    log.put("".join(json.dumps(line) + "\n" for line in reversed(lines)), at, "r-1")
    log.log("another", at=at)

    rows = Athena(log).saved("RecordsOfARequest", "r-1")

    assert [row["message"] for row in rows] == ['{"n": 0}', '{"n": 1}']


def task(log: LogBucket, at: datetime, name: str, status: str, duration_ms: float = 1.0) -> None:
    """Put the record of a task's outcome."""
    record = {
        "timestamp": stamp(at),
        "message": name,
        "task": name,
        "status": status,
        "duration_ms": duration_ms,
        "exception": "Traceback",
    }
    log.put(json.dumps(record) + "\n", at)


def test_the_table_has_the_columns_that_records_have(make_handler: Any, cloud: Cloud) -> None:
    """Each key of a failed task's record is a column."""
    from conftest import Context
    from function import app, ask

    context = Context()
    make_handler(app)(ask("/run", "raise"), context)
    (record,) = cloud.records(context.aws_request_id)

    columns = {each["Name"] for each in table_input("LogObjects")["StorageDescriptor"]["Columns"]}
    assert record.keys() <= columns
    assert {"task", "status", "duration_ms", "exception"} <= record.keys()


def test_the_view_has_the_columns_that_it_says() -> None:
    """Trino compares the query's columns with those beside it, by number and type."""
    view, definition = table_input("LogView"), view_definition("bucket")
    selected = re.search(r"SELECT (.*?) FROM", definition["originalSql"])
    assert selected is not None
    names = [each.strip().removeprefix("o.").strip('"') for each in selected[1].split(",")]

    table = table_input("LogObjects")
    types = {
        each["Name"]: each["Type"]
        for each in [*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"]]
    }
    assert definition["columns"] == [{"name": each, "type": TYPES[types[each]]} for each in names]
    assert view["StorageDescriptor"]["Columns"] == [
        {"Name": each, "Type": types[each]} for each in names
    ]
    assert set(types) - set(names) == {"kind", "compacted_from"}
    assert (definition["catalog"], definition["schema"]) == ("awsdatacatalog", DATABASE)
    assert view["TableType"] == "VIRTUAL_VIEW"
    assert view["Parameters"] == {"presto_view": "true", "comment": "Presto View"}


def test_the_table_projects_the_hours_of_both_prefixes() -> None:
    """Where a partition is said to be is where the functions write."""
    parameters = table_input("LogObjects")["Parameters"]
    settings = Settings(bucket="bucket")

    assert parameters["storage.location.template"] == {
        "Fn::Sub": "s3://${Bucket}/${!kind}/${!hour}/"
    }
    kinds = parameters["projection.kind.values"].split(",")
    assert [f"{kind}/" for kind in kinds] == [settings.log_prefix, settings.compacted_prefix]
    assert parameters["projection.hour.format"] == "yyyy/MM/dd/HH"
    assert parameters["projection.hour.interval.unit"] == "HOURS"


@pytest.mark.parametrize("key", ["", "arn:aws:kms:eu-central-1:123456789012:key/1"])
def test_query_results_are_encrypted_bounded_and_short_lived(key: str) -> None:
    """Whoever asks, in the workgroup, cannot have it otherwise."""
    deployment = Deployment(KmsKeyArn=key)
    (group,) = deployment.of_type("AWS::Athena::WorkGroup").values()
    configuration = group["WorkGroupConfiguration"]

    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["BytesScannedCutoffPerQuery"] <= 10 << 30
    results = configuration["ResultConfiguration"]
    assert results["OutputLocation"] == {"Fn::Sub": "s3://${Bucket}/athena/"}
    assert results["EncryptionConfiguration"] == (
        {"EncryptionOption": "SSE_KMS", "KmsKey": key} if key else {"EncryptionOption": "SSE_S3"}
    )
    (bucket,) = deployment.of_type("AWS::S3::Bucket").values()
    rules = {rule.get("Prefix"): rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["athena/"]["ExpirationInDays"] <= 7


def test_queries_can_be_saved_where_their_table_is() -> None:
    """Each names the workgroup and the database of the stack."""
    for query in Deployment().of_type("AWS::Athena::NamedQuery").values():
        assert query["WorkGroup"] == {"Ref": "LogWorkGroup"}
        assert query["Database"] == {"Ref": "LogDatabase"}


def test_the_compactor_is_deployed_when_it_is_chosen() -> None:
    """With its role, its log group and its schedule; without, none of them is there."""
    with_it = Deployment(Compact="true").resources.keys()
    without = Deployment().resources.keys()

    assert {name for name in with_it - without if not name.startswith("CompactFunction")} == {
        "CompactRole",
        "CompactLogGroup",
        "CompactErrorsAlarm",
    }
    (rule,) = Deployment(Compact="true").of_type("AWS::Events::Rule").values()
    assert rule["ScheduleExpression"] == "cron(25 * * * ? *)"


def test_what_is_merged_lives_about_as_long_as_what_is_not() -> None:
    """Both expire after the same number of days; the week of LOOK_BACK may come on top."""
    (bucket,) = Deployment(LogExpirationDays="365").of_type("AWS::S3::Bucket").values()
    rules = {rule.get("Prefix"): rule for rule in bucket["LifecycleConfiguration"]["Rules"]}

    assert rules["compacted/"]["ExpirationInDays"] == rules["log/"]["ExpirationInDays"] == "365"
    assert timedelta(days=7) >= LOOK_BACK
