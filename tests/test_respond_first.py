"""Promise 4: the response leaves before the tasks, and the environment stays awake for them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cloud
from function import ask

from local.runtime import FunctionError, Runtime

MakeRuntime = Callable[..., Runtime]
FIRST = {"RESPOND": "before-tasks"}


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which ``block`` waits."""
    return tmp_path / "gate"


@pytest.fixture
def runtime(make_runtime: MakeRuntime) -> Runtime:
    """The tests' function in respond-first mode."""
    return make_runtime(environ=FIRST)


def test_the_response_leaves_while_a_task_still_waits(
    runtime: Runtime, cloud: Cloud, gate: Path
) -> None:
    """The caller has its answer before the task can end; then the task ends and is recorded.

    The task waits for a file that is made only after the answer is there.
    """
    invocation = runtime.start(ask("/run", f"block:{gate}", "note:after"))

    answer = invocation.response(timeout=20)
    assert cloud.objects(invocation.request_id) == []
    gate.touch()

    assert answer["statusCode"] == 200
    assert invocation.end(timeout=20).status == "ok"
    assert cloud.messages(invocation.request_id) == ["after"]


def test_the_environment_freezes_only_when_tasks_and_flush_are_done(
    runtime: Runtime, cloud: Cloud
) -> None:
    """An async and a plain task end, and are in S3, before the process stands still."""
    invocation = runtime.start(ask("/run", "async:0.3", "sync:0.3"))
    invocation.end(timeout=20)

    assert runtime.environments[0].frozen
    assert cloud.messages(invocation.request_id) == [
        "slept 0.3 s on the loop",
        "slept 0.3 s in a thread",
    ]


def test_without_tasks_the_invocation_just_ends(runtime: Runtime, cloud: Cloud) -> None:
    """An invocation with nothing behind its answer holds nothing and writes nothing."""
    invocation = runtime.start(ask("/run"))

    assert invocation.end(timeout=20).status == "ok"
    assert cloud.objects(invocation.request_id) == []


def test_invocations_follow_each_other_in_one_environment(runtime: Runtime, cloud: Cloud) -> None:
    """Process, lifespan and order stay; no record is in another's object."""
    invocations = [runtime.start(ask("/run", f"note:{n}")) for n in range(20)]
    answers = [json.loads(each.response(timeout=20)["body"]) for each in invocations]
    for each in invocations:
        each.end(timeout=20)

    assert len({answer["pid"] for answer in answers}) == 1
    assert {answer["started"] for answer in answers} == {1}
    for n, each in enumerate(invocations):
        assert cloud.messages(each.request_id) == [str(n)]


def test_a_task_that_never_ends_is_recorded_and_the_next_request_is_served(
    make_runtime: MakeRuntime, cloud: Cloud
) -> None:
    """At the deadline the invocation ends by itself, not as a Lambda timeout."""
    runtime = make_runtime(environ=FIRST, timeout=3.0)
    first = runtime.start(ask("/run", "async:60", "stubborn", "note:never"))
    second = runtime.start(ask("/run", "note:next"))

    assert first.end(timeout=20).status == "ok"
    assert cloud.outcomes(first.request_id) == [
        ("sleep_async", "timed out"),
        ("stubborn", "not started"),
        ("note", "not started"),
    ]
    second.end(timeout=20)
    assert cloud.messages(second.request_id) == ["next"]


def test_an_event_that_is_refused_does_not_hold_the_environment(
    runtime: Runtime, cloud: Cloud
) -> None:
    """An invocation that fails before the app ran ends, and the next one is served."""
    refused = runtime.start({})
    served = runtime.start(ask("/run", "note:next"))

    with pytest.raises(FunctionError, match="an empty object"):
        refused.response(timeout=20)
    assert refused.end(timeout=20).status == "error"
    served.end(timeout=20)
    assert cloud.messages(served.request_id) == ["next"]


def test_an_event_that_never_reaches_the_handler_does_not_hold_the_environment(
    runtime: Runtime, cloud: Cloud
) -> None:
    """The runtime client cannot read the event; the extension lets go well before the timeout."""
    broken = runtime.start(b"{")
    served = runtime.start(ask("/run", "note:next"))

    with pytest.raises(FunctionError):
        broken.response(timeout=20)
    assert broken.end(timeout=20).status == "error"
    served.end(timeout=20)
    assert cloud.messages(served.request_id) == ["next"]


def test_an_app_that_raises_does_not_hold_the_environment(runtime: Runtime, cloud: Cloud) -> None:
    """A 500 and a 504 end their invocation like any other answer."""
    missing = runtime.start(ask("/run", "no-such-task"))
    served = runtime.start(ask("/run", "note:next"))

    assert missing.response(timeout=20)["statusCode"] == 500
    assert missing.end(timeout=20).status == "ok"
    served.end(timeout=20)
    assert cloud.messages(served.request_id) == ["next"]


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances"}, "Managed Instances"),
        ({"EXTENSION": "late"}, "Extension.RegistrationClosed"),
    ],
)
def test_where_it_cannot_hold_on_it_says_so_once_and_responds_after_the_tasks(
    make_runtime: MakeRuntime, cloud: Cloud, environ: dict[str, str], reason: str
) -> None:
    """The first invocation's log says why; tasks are done when the response leaves."""
    handler = "late.handler" if environ.pop("EXTENSION", "") else "function.handler"
    runtime = make_runtime(handler, environ=FIRST | environ)
    ids = []
    for _ in range(2):
        invocation = runtime.start(ask("/run", "note:done"))
        invocation.response(timeout=20)
        ids.append(invocation.request_id)
        assert cloud.messages(invocation.request_id)[-1] == "done"

    first, second = (cloud.messages(request_id) for request_id in ids)
    assert len(first) == 2
    assert reason in first[0]
    assert second == ["done"]


def test_without_a_runtime_api_it_responds_after_the_tasks(
    make_handler: Callable[..., Callable[..., object]], cloud: Cloud
) -> None:
    """Called as a plain function, as in a unit test, the mode falls back and says so."""
    from conftest import Context
    from function import app

    context = Context()
    make_handler(app, respond="before-tasks")(ask("/run", "note:done"), context)

    notice, done = cloud.messages(context.aws_request_id)
    assert "AWS_LAMBDA_RUNTIME_API" in notice
    assert done == "done"
