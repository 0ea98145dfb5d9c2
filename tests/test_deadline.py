"""Promise 3: tasks get a deadline that leaves time to record and flush."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import from_thread
from conftest import Cloud, Context
from fastapi import BackgroundTasks, FastAPI
from function import app, ask

from app.background import time_limit

Handler = Callable[[Any, Any], dict[str, Any]]


@pytest.fixture
def handler(make_handler: Callable[..., Handler]) -> Handler:
    """A handler of the tests' function with a short reserve."""
    made: Handler = make_handler(app, deadline_reserve=0.5)
    return made


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for which ``block`` waits; made at the end, so that no thread is left over."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def test_an_async_task_is_cancelled_at_the_deadline(handler: Handler, cloud: Cloud) -> None:
    """It is recorded as timed out, by name; the response stays."""
    context = Context(remaining=1.0)

    answer = handler(ask("/run", "async:60"), context)

    assert answer["statusCode"] == 200
    assert cloud.outcomes(context.aws_request_id) == [("sleep_async", "timed out")]


def test_a_plain_task_is_abandoned_at_the_deadline(
    handler: Handler, cloud: Cloud, gate: Path
) -> None:
    """It is recorded as timed out, and that its thread runs on."""
    context = Context(remaining=1.0)

    handler(ask("/run", f"block:{gate}"), context)

    assert cloud.outcomes(context.aws_request_id) == [("block", "timed out")]
    assert "abandoned" in cloud.messages(context.aws_request_id)[0]


def test_a_plain_task_can_ask_whether_its_time_is_up(make_handler: Callable[..., Handler]) -> None:
    """AnyIO tells it, as it does in a sync endpoint: its thread need not run on."""
    stopped, over = threading.Event(), threading.Event()
    app = FastAPI()

    @time_limit(0.2)
    def work() -> None:
        try:
            while not over.wait(0.01):
                from_thread.check_cancelled()
        except asyncio.CancelledError:
            stopped.set()
            raise

    @app.get("/")
    async def add(tasks: BackgroundTasks) -> None:
        tasks.add_task(work)

    make_handler(app)(ask("/"), Context())
    asked = stopped.wait(5)
    over.set()

    assert asked


def test_the_next_invocation_records_a_thread_that_still_runs(
    handler: Handler, cloud: Cloud, gate: Path
) -> None:
    """The warning names the task and the request that it belongs to."""
    first, second = Context(remaining=1.0), Context()
    handler(ask("/run", f"block:{gate}"), first)
    handler(ask("/run", "note:hello"), second)

    warning, hello = cloud.messages(second.aws_request_id)
    assert "still running" in warning
    assert first.aws_request_id in warning
    assert "block" in warning
    assert hello == "hello"


def test_tasks_after_the_deadline_are_recorded_one_by_one(handler: Handler, cloud: Cloud) -> None:
    """Each task that was not started has its own record."""
    context = Context(remaining=1.0)

    handler(ask("/run", "async:60", "note:a", "sync:0"), context)

    assert cloud.outcomes(context.aws_request_id) == [
        ("sleep_async", "timed out"),
        ("note", "not started"),
        ("sleep_sync", "not started"),
    ]


def test_five_tasks_of_which_three_go_wrong(handler: Handler, cloud: Cloud) -> None:
    """All five outcomes are as they should be, and the next invocation is clean."""
    context, following = Context(remaining=1.2), Context()

    answer = handler(ask("/run", "note:1", "raise", "exit", "async:60", "note:5"), context)
    handler(ask("/run", "note:next"), following)

    assert answer["statusCode"] == 200
    assert cloud.messages(context.aws_request_id)[0] == "1"
    assert cloud.outcomes(context.aws_request_id) == [
        ("fail", "failed"),
        ("leave", "failed"),
        ("sleep_async", "timed out"),
        ("note", "not started"),
    ]
    assert cloud.messages(following.aws_request_id) == ["next"]


def test_five_tasks_without_the_overrun(handler: Handler, cloud: Cloud, context: Context) -> None:
    """The fifth runs although the second raised and the third tried to exit."""
    handler(ask("/run", "note:1", "raise", "exit", "async:0", "note:5"), context)

    assert cloud.outcomes(context.aws_request_id) == [("fail", "failed"), ("leave", "failed")]
    assert cloud.messages(context.aws_request_id)[-1] == "5"


def test_a_task_that_swallows_its_cancellation_does_not_hold_the_invocation(
    handler: Handler, cloud: Cloud
) -> None:
    """It is recorded as timed out and abandoned; the next request is served."""
    context, following = Context(remaining=1.0), Context()

    handler(ask("/run", "stubborn", "note:after"), context)
    handler(ask("/run", "note:next"), following)

    assert ("stubborn", "timed out") in cloud.outcomes(context.aws_request_id)
    assert ("note", "not started") in cloud.outcomes(context.aws_request_id)
    assert cloud.messages(following.aws_request_id)[-1] == "next"


def test_a_task_may_shorten_its_own_limit(handler: Handler, cloud: Cloud, context: Context) -> None:
    """``time_limit`` ends it early, and the next task runs."""
    handler(ask("/run", "limited", "note:after"), context)

    assert cloud.outcomes(context.aws_request_id) == [("limited", "timed out")]
    assert cloud.messages(context.aws_request_id)[-1] == "after"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_limit_has_to_be_positive(seconds: float) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match=f"not {seconds}"):
        time_limit(seconds)


def test_stray_work_is_awaited_inside_its_own_invocation(
    handler: Handler, cloud: Cloud, context: Context
) -> None:
    """A task left behind by ``asyncio.create_task`` ends before the invocation does."""
    handler(ask("/stray", query="seconds=0.2"), context)

    assert cloud.messages(context.aws_request_id) == ["slept 0.2 s on the loop"]


def test_stray_work_is_cancelled_and_recorded_at_the_deadline(
    handler: Handler, cloud: Cloud
) -> None:
    """What cannot end in time is recorded by name."""
    context = Context(remaining=1.0)

    handler(ask("/stray", query="seconds=60"), context)

    assert cloud.outcomes(context.aws_request_id) == [("sleep_async", "timed out")]


@pytest.mark.parametrize("path", ["/hang", "/stubborn"])
def test_a_request_that_never_responds_is_answered_before_the_timeout(
    handler: Handler, cloud: Cloud, path: str
) -> None:
    """The client gets a 504, the log says which request, the next one is served."""
    context, following = Context(remaining=1.0), Context()

    answer = handler(ask(path), context)
    after = handler(ask("/run", "note:next"), following)

    assert answer["statusCode"] == 504
    assert any(f"GET {path}" in message for message in cloud.messages(context.aws_request_id))
    assert after["statusCode"] == 200


def test_stray_work_that_ended_late_is_not_said_to_run(handler: Handler, cloud: Cloud) -> None:
    """A stray that swallowed its cancellation is named while it runs, and no longer."""
    first, second, third = Context(remaining=1.0), Context(remaining=1.5), Context()
    handler(ask("/slow-stray", query="seconds=0.3"), first)
    handler(ask("/run", "async:0.5"), second)
    handler(ask("/run", "note:next"), third)

    assert cloud.outcomes(first.aws_request_id) == [("linger", "timed out")]
    assert cloud.messages(third.aws_request_id) == ["next"]


def test_a_request_that_never_responds_is_cancelled(handler: Handler, cloud: Cloud) -> None:
    """It can clean up, inside its own invocation, and does not go on in the next one."""
    context = Context(remaining=1.0)

    handler(ask("/hang"), context)

    assert cloud.messages(context.aws_request_id)[0] == "cancelled"


def test_a_request_is_recorded_with_itself_whatever_the_one_before_had_left(
    handler: Handler, cloud: Cloud
) -> None:
    """What is said when it does not stop is in its own log, though the timer was set before."""
    first, second = Context(remaining=0.9), Context(remaining=1.2)

    handler(ask("/run"), first)
    handler(ask("/stubborn"), second)

    assert [message.partition(":")[0] for message in cloud.messages(second.aws_request_id)] == [
        "not me",
        "the request did not stop when it was cancelled",
    ]


def test_a_request_that_ends_late_takes_no_deadline_from_the_next(handler: Handler) -> None:
    """It was given up, and ends while another is served, which is answered before its timeout."""
    answers = [
        handler(ask("/late", query="seconds=0.5"), Context(remaining=1.0)),
        handler(ask("/hang"), Context(remaining=1.5)),
    ]

    assert [answer["statusCode"] for answer in answers] == [504, 504]
