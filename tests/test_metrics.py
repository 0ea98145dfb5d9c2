"""Promise 8: every outcome is counted, in one blob of CloudWatch's embedded metric format."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cloud, Context
from fastapi import BackgroundTasks, FastAPI
from function import app, ask

Handler = Callable[[Any, Any], dict[str, Any]]


@pytest.fixture
def handler(make_handler: Callable[..., Handler]) -> Handler:
    """A handler of the tests' function with a short reserve."""
    made: Handler = make_handler(app, deadline_reserve=0.5, service="shop", metrics_namespace="me")
    return made


def blobs(printed: str) -> list[dict[str, Any]]:
    """Return the metric blobs among the lines of stdout."""
    return [json.loads(line) for line in printed.splitlines() if '"_aws"' in line]


def test_each_outcome_is_counted(
    make_handler: Callable[..., Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    """Succeeded, failed, timed out, not started, in one blob, beside time, records, cold start."""
    context = Context(remaining=3.0)
    handler = make_handler(app, deadline_reserve=2.5)
    handler(ask("/run", "note:1", "raise", "async:60", "note:5"), context)

    (blob,) = blobs(capsys.readouterr().out)
    expected = {
        "TasksSucceeded": 1,
        "TasksFailed": 1,
        "TasksTimedOut": 1,
        "TasksNotStarted": 1,
        "LogRecords": 4,
        "ColdStarts": 1,
    }
    assert {name: blob[name] for name in expected} == expected
    assert blob["TaskTime"] > 0
    declared = {m["Name"] for m in blob["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert declared == {*expected, "TaskTime"}


def test_a_blob_can_be_found_by_request_id_and_names_each_task(
    handler: Handler, capsys: pytest.CaptureFixture[str], context: Context
) -> None:
    """Also a success, which has no record at level INFO, can be found by its request."""
    handler(ask("/run", "note:1"), context)

    (blob,) = blobs(capsys.readouterr().out)
    assert blob["request_id"] == context.aws_request_id
    (task,) = blob["tasks"]
    assert (task["task"], task["status"]) == ("function.note", "succeeded")


def test_namespace_and_service_are_those_of_the_settings(
    handler: Handler, capsys: pytest.CaptureFixture[str], context: Context
) -> None:
    """The only dimension is the service: more would cost a metric each."""
    handler(ask("/run"), context)

    (blob,) = blobs(capsys.readouterr().out)
    directive = blob["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "me"
    assert directive["Dimensions"] == [["service"]]
    assert blob["service"] == "shop"


def test_a_blob_is_json_whatever_its_text_contains(
    make_handler: Callable[..., Handler], capsys: pytest.CaptureFixture[str], context: Context
) -> None:
    """A service, a namespace and a task may be called anything."""
    name = 'the "\\shop\n\u2028'

    def odd() -> None: ...

    odd.__qualname__ = name
    application = FastAPI()

    @application.get("/")
    async def add(tasks: BackgroundTasks) -> None:
        tasks.add_task(odd)

    make_handler(application, service=name, metrics_namespace=name)(ask("/"), context)

    (blob,) = blobs(capsys.readouterr().out)
    assert blob["service"] == name
    assert blob["_aws"]["CloudWatchMetrics"][0]["Namespace"] == name
    assert blob["tasks"][0]["task"] == f"test_metrics.{name}"


def test_an_invocation_with_nothing_to_count_prints_nothing(
    handler: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    """After the cold start, a request without tasks and records costs no log event."""
    handler(ask("/run"), Context())
    capsys.readouterr()
    handler(ask("/run"), Context())

    assert capsys.readouterr().out == ""


def test_ten_thousand_tasks_still_make_a_blob_that_cloudwatch_takes(
    handler: Handler, capsys: pytest.CaptureFixture[str], cloud: Cloud, context: Context
) -> None:
    """A log event has at most 256 KiB; the counts are whole, the list of tasks is cut."""
    handler(ask("/many", query="tasks=3000"), context)

    printed = capsys.readouterr().out
    (blob,) = blobs(printed)
    assert blob["TasksSucceeded"] == 3000
    assert len(printed) < 256 * 1024
