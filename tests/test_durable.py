"""Promise 7, on one machine: accepted before the response, run at least once, recorded once."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import durables
import pytest
from conftest import Cloud, Context
from fastapi import BackgroundTasks, FastAPI
from faulty_s3 import FaultyS3
from function import ask
from proxy_s3 import proxy_s3
from queueing import Sqs, ids, notification, post

from app import durable
from app.durable import NotDurable

Handler = Callable[[Any, Any], dict[str, Any]]


@pytest.fixture
def api(make_handler: Callable[..., Handler]) -> Handler:
    """A handler of the routes that add durable tasks."""
    made: Handler = make_handler(durables.app)
    return made


@pytest.fixture
def see(api: Handler) -> Callable[[str], dict[str, Any]]:
    """What ``GET /tasks/ID`` answers."""

    def get(task_id: str) -> dict[str, Any]:
        answer = api(ask(f"/tasks/{task_id}"), Context())
        assert answer["statusCode"] == 200, answer
        seen: dict[str, Any] = json.loads(answer["body"])
        return seen

    return get


def test_an_accepted_task_is_in_the_ledger_and_named_in_the_response(
    api: Handler, see: Callable[[str], dict[str, Any]]
) -> None:
    """A 202 with one task has its Location, and a Link of relation monitor."""
    answer = api(post("/double/21"), Context())

    (task_id,) = ids(answer)
    assert answer["statusCode"] == 202
    assert answer["headers"]["location"] == f"/tasks/{task_id}"
    assert answer["headers"]["link"] == f'</tasks/{task_id}>; rel="monitor"'
    seen = see(task_id)
    assert seen.pop("created_at").endswith("Z")
    assert seen == {
        "id": task_id,
        "function": "durables.double",
        "status": "QUEUED",
        "attempts": 0,
        "started_at": None,
        "finished_at": None,
        "result": None,
        "error": None,
    }


def test_several_tasks_have_a_link_each_and_no_location(api: Handler) -> None:
    """Which of them Location would name is nobody's guess."""
    answer = api(post("/double/21", "times=3"), Context())

    assert len(ids(answer)) == 3
    assert "location" not in answer["headers"]


def test_a_status_that_is_not_final_says_when_to_ask_again(api: Handler) -> None:
    """``Retry-After`` is there while the task is not done."""
    (task_id,) = ids(api(post("/double/1"), Context()))

    assert int(api(ask(f"/tasks/{task_id}"), Context())["headers"]["retry-after"]) > 0


@pytest.mark.parametrize(
    "task_id",
    [
        "0190b6a0-0000-7000-8000-000000000000",
        "0190b6a0-0000-4000-8000-000000000000",
        "nonsense",
        "..",
        "idempotency",
        "..%2Flog",
    ],
)
def test_an_id_that_is_none_is_404(api: Handler, task_id: str) -> None:
    """No id reaches another key of the bucket."""
    answer = api(ask(f"/tasks/{task_id}"), Context())

    assert answer["statusCode"] == 404
    assert "retry-after" not in answer["headers"]


def test_plain_tasks_of_the_request_run_in_it(api: Handler, cloud: Cloud) -> None:
    """Only the durable ones are handed off."""
    context = Context()
    api(post("/double/1"), context)

    assert cloud.messages(context.aws_request_id) == ["plain"]


def test_a_request_that_fails_accepts_no_task(api: Handler, cloud: Cloud) -> None:
    """FastAPI drops the tasks of a request that raised, durable ones too."""
    answer = api(post("/dropped"), Context())

    assert answer["statusCode"] == 409
    assert ids(answer) == []


def test_a_worker_runs_it_and_its_result_is_kept(
    api: Handler,
    work: Callable[..., list[str]],
    see: Callable[[str], dict[str, Any]],
    cloud: Cloud,
) -> None:
    """SUCCEEDED, with the result; the log has the records of the run, with the task's id."""
    (task_id,) = ids(api(post("/double/21"), Context()))
    context = Context()

    assert work(notification(task_id), context=context) == []

    seen = see(task_id)
    assert (seen["status"], seen["attempts"]) == ("SUCCEEDED", 1)
    assert seen["result"] == {"doubled": 42}
    assert seen["started_at"] <= seen["finished_at"]
    records = cloud.records(context.aws_request_id)
    assert [record["message"] for record in records] == ["doubling 21", "durable task SUCCEEDED"]
    assert {record["task_id"] for record in records} == {task_id}


def test_the_same_message_three_times_is_one_run(
    api: Handler, work: Callable[..., list[str]], cloud: Cloud
) -> None:
    """Twice at once and once again later: one of them runs, none is lost."""
    (task_id,) = ids(api(post("/double/21"), Context()))
    first, later = Context(), Context()

    again = work(*[notification(task_id)] * 2, context=first)
    assert work(notification(task_id), *again, context=later) == []

    messages = cloud.messages(first.aws_request_id) + cloud.messages(later.aws_request_id)
    assert messages.count("doubling 21") == 1


def test_a_failed_attempt_comes_again_until_it_succeeds(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]]
) -> None:
    """The message is reported, the error can be seen, the next attempt is counted."""
    (task_id,) = ids(api(post("/fragile/phoenix"), Context()))
    body = notification(task_id)
    durables.failing.add("phoenix")
    assert work(body) == [body]
    assert see(task_id)["status"] == "QUEUED"
    assert "phoenix is broken" in see(task_id)["error"]

    durables.failing.discard("phoenix")
    assert work(body) == []

    seen = see(task_id)
    assert (seen["status"], seen["attempts"], seen["error"]) == ("SUCCEEDED", 2, None)


def test_a_poison_task_has_its_attempts_and_is_buried(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]], sqs: Sqs
) -> None:
    """Exactly three, then FAILED with the error, and one message in the dead-letter queue."""
    (task_id,) = ids(api(post("/fragile/poison"), Context()))
    durables.failing.add("poison")
    body = notification(task_id)

    assert [work(body), work(body), work(body), work(body)] == [[body], [body], [], []]

    seen = see(task_id)
    assert (seen["status"], seen["attempts"]) == ("FAILED", 3)
    assert "poison is broken" in seen["error"]
    (dead,) = sqs.dead()
    assert task_id in dead


def test_a_redriven_task_runs_anew(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]], sqs: Sqs
) -> None:
    """After the fix the message from the dead-letter queue runs it; an old copy does not."""
    (task_id,) = ids(api(post("/fragile/patient"), Context()))
    durables.failing.add("patient")
    for _ in range(3):
        work(notification(task_id))
    durables.failing.discard("patient")
    (dead,) = sqs.dead()

    assert work(notification(task_id)) == []
    assert see(task_id)["status"] == "FAILED"
    assert work(dead) == []

    assert see(task_id)["status"] == "SUCCEEDED"


def test_the_other_items_of_a_batch_are_unaffected(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]]
) -> None:
    """Poison, nonsense and a test event beside a good task: the good one succeeds."""
    durables.failing.add("bad")
    (bad,) = ids(api(post("/fragile/bad"), Context()))
    (good,) = ids(api(post("/double/2"), Context()))
    test_event = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})
    foreign = json.dumps({"Records": [{"s3": {"object": {"key": "log/x"}}}]})

    again = work(notification(bad), "nonsense", test_event, foreign, notification(good))

    assert sorted(again) == sorted([notification(bad), "nonsense", foreign])
    assert see(good)["status"] == "SUCCEEDED"


def test_a_task_that_overruns_its_timeout_is_a_failed_attempt(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]]
) -> None:
    """``timeout`` bounds an attempt."""
    (task_id,) = ids(api(post("/endless"), Context()))

    work(notification(task_id))

    assert see(task_id)["status"] == "FAILED"
    assert "not done after 0.2" in see(task_id)["error"]


def test_a_forged_function_is_not_run(
    api: Handler,
    work: Callable[..., list[str]],
    see: Callable[[str], dict[str, Any]],
    cloud: Cloud,
) -> None:
    """Only registered functions run, by registered name."""
    (task_id,) = ids(api(post("/double/1"), Context()))
    key = f"tasks/{task_id}/task.json"
    task = json.loads(cloud.body(key)) | {"function": "os.system", "arguments": {"command": "id"}}
    cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=json.dumps(task))

    assert work(notification(task_id)) == [notification(task_id)]
    assert "os.system is not registered" in see(task_id)["error"]


def test_a_live_lease_is_left_alone_and_an_expired_one_taken_over(
    api: Handler,
    work: Callable[..., list[str]],
    see: Callable[[str], dict[str, Any]],
    cloud: Cloud,
) -> None:
    """While another worker may run the task its message waits; when it must be dead, it runs."""
    (task_id,) = ids(api(post("/double/4"), Context()))
    key = f"tasks/{task_id}/state.json"

    def lease(until: dt.datetime) -> None:
        state = {"status": "RUNNING", "attempts": 1, "lease_until": until.timestamp()}
        cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=json.dumps(state))

    now = dt.datetime.now(dt.UTC)
    lease(now + dt.timedelta(minutes=5))
    assert work(notification(task_id)) == [notification(task_id)]
    assert see(task_id)["status"] == "RUNNING"

    lease(now - dt.timedelta(minutes=5))
    assert work(notification(task_id)) == []
    assert see(task_id)["status"] == "SUCCEEDED"


def test_a_worker_that_died_on_the_last_attempt_fails_the_task(
    api: Handler,
    work: Callable[..., list[str]],
    see: Callable[[str], dict[str, Any]],
    cloud: Cloud,
    sqs: Sqs,
) -> None:
    """A crash counts as an attempt, so that a task that kills its worker ends as well."""
    (task_id,) = ids(api(post("/double/4"), Context()))
    state = {"status": "RUNNING", "attempts": 3, "lease_until": 1.0}
    key = f"tasks/{task_id}/state.json"
    cloud.s3.put_object(Bucket=cloud.bucket, Key=key, Body=json.dumps(state))

    assert work(notification(task_id)) == []

    assert see(task_id)["status"] == "FAILED"
    assert len(sqs.dead()) == 1


def test_a_task_whose_request_was_not_accepted_whole_is_not_run(
    api: Handler, work: Callable[..., list[str]], cloud: Cloud
) -> None:
    """All but the first are valid only when the first has been written, which is the last write."""
    answer = api(post("/double/3", "times=2"), Context())
    leader, follower = ids(answer)
    cloud.s3.delete_object(Bucket=cloud.bucket, Key=f"tasks/{leader}/task.json")
    context = Context()

    assert work(notification(follower), context=context) == [notification(follower)]
    assert "doubling 3" not in cloud.messages(context.aws_request_id)


def test_arguments_come_back_as_what_they_were(
    make_handler: Callable[..., Handler],
    work: Callable[..., list[str]],
    see: Callable[[str], dict[str, Any]],
) -> None:
    """What JSON has no type for is restored by the function's annotations."""
    app = FastAPI()

    @app.post("/")
    def add(background_tasks: BackgroundTasks) -> None:
        day = dt.date(2026, 11, 24)
        background_tasks.add_task(durables.remember, day, Path("/x"), tags={"b", "a"})

    (task_id,) = ids(make_handler(app)(post("/"), Context()))
    work(notification(task_id))

    assert see(task_id)["result"] == ["date", "PosixPath", ["a", "b"]]


def test_an_argument_that_does_not_fit_is_an_error_where_it_is_added(
    api: Handler, cloud: Cloud
) -> None:
    """The client gets a 500 and the traceback names the argument; nothing is accepted."""
    context = Context()
    answer = api(post("/double/many"), context)

    assert answer["statusCode"] == 500
    (record,) = cloud.records(context.aws_request_id)
    assert "argument 'number': Input should be a valid integer" in record["exception"]
    assert "add_double" in record["exception"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: None, "top level"),
        (durables.double, "registered already"),
    ],
)
def test_a_function_that_a_worker_could_not_find_is_refused(function: Any, message: str) -> None:
    """The error comes when the module is imported."""
    with pytest.raises(NotDurable, match=message):
        durable.durable(function)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"attempts": 11}, {"timeout": 0}])
def test_bad_options_are_refused(options: dict[str, int]) -> None:
    """The error names the value and what is right."""
    with pytest.raises(ValueError, match="must be"):
        durable.durable(**options)(test_bad_options_are_refused)


def test_ids_sort_by_time_and_are_version_7() -> None:
    """Later ids are greater, as text too; the rest is random."""
    made = [durable.new_id() for _ in range(100)]

    assert {uuid.UUID(each).version for each in made} == {7}
    assert {uuid.UUID(each).variant for each in made} == {uuid.RFC_4122}
    assert len(set(made)) == 100
    assert [each[:13] for each in made] == sorted(each[:13] for each in made)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_when_a_write_fails_the_client_gets_503_and_no_task_will_run(
    make_handler: Callable[..., Handler], failing: int
) -> None:
    """Whichever of three tasks cannot be written: 503, and none that was written is valid."""
    behaviours = ["ok"] * failing + ["denied"] + ["ok"] * 9
    s3 = FaultyS3(*behaviours)
    try:
        handler = make_handler(durables.app, bucket=s3.bucket, s3_endpoint=s3.endpoint)
        answer = handler(post("/double/3", "times=3"), Context())
        bodies = b"".join(bytes(each.body) for each in s3.requests if each.method == "POST")
        deleted = set(re.findall(r"<Key>(.*?)</Key>", bodies.decode()))
        written = {key for key in s3.objects if key.endswith("/task.json")}
    finally:
        s3.close()

    assert answer["statusCode"] == 503
    assert "could not be accepted" in answer["body"]
    assert ids(answer) == []
    assert int(answer["headers"]["retry-after"]) > 0
    assert written <= deleted


def test_a_503_rolls_the_requests_dependencies_back(
    make_handler: Callable[..., Handler],
) -> None:
    """The client was told that nothing happened, so a ``yield`` dependency must not commit."""
    from typing import Annotated

    from fastapi import Depends

    seen: list[str] = []
    app = FastAPI()

    def transaction() -> Iterator[None]:
        try:
            yield
        except BaseException:
            seen.append("rolled back")
            raise
        seen.append("committed")

    def add(background_tasks: BackgroundTasks, _: Annotated[None, Depends(transaction)]) -> None:
        background_tasks.add_task(durables.double, 1)

    add.__annotations__ = {
        "background_tasks": BackgroundTasks,
        "_": Annotated[None, Depends(transaction)],
        "return": None,
    }
    app.post("/")(add)
    s3 = FaultyS3("denied")
    try:
        handler = make_handler(app, bucket=s3.bucket, s3_endpoint=s3.endpoint)
        assert handler(post("/"), Context())["statusCode"] == 503
    finally:
        s3.close()

    assert seen == ["rolled back"]


def test_the_same_key_and_request_give_the_same_task(
    api: Handler, work: Callable[..., list[str]], cloud: Cloud
) -> None:
    """A repeated request names the same task, and a task that is done is not run again."""
    event = post("/double/7", idempotency_key=uuid.uuid4().hex)
    (first,) = ids(api(event, Context()))
    work(notification(first))
    (second,) = ids(api(event, Context()))
    context = Context()
    work(notification(second), context=context)

    assert second == first
    assert cloud.messages(context.aws_request_id) == []


def test_the_same_key_with_another_request_is_422(api: Handler) -> None:
    """The client has made a mistake, and is told which."""
    key = uuid.uuid4().hex
    api(post("/double/7", idempotency_key=key), Context())
    answer = api(post("/double/8", idempotency_key=key), Context())

    assert answer["statusCode"] == 422
    assert "Idempotency-Key" in answer["body"]
    assert ids(answer) == []


CALLERS = {
    "iam": [
        {"authorizer": {"iam": {"userArn": f"arn:aws:iam::123456789012:user/{name}"}}}
        for name in ("ada", "bob")
    ],
    "jwt": [
        {"authorizer": {"jwt": {"claims": {"iss": "https://idp", "sub": name}}}}
        for name in ("ada", "bob")
    ],
    "rest-iam": [
        {"identity": {"userArn": f"arn:aws:iam::123456789012:user/{name}"}}
        for name in ("ada", "bob")
    ],
    "rest-jwt": [
        {"authorizer": {"claims": {"iss": "https://idp", "sub": name}}} for name in ("ada", "bob")
    ],
}


@pytest.mark.parametrize("callers", CALLERS.values(), ids=CALLERS)
def test_a_key_is_its_callers(api: Handler, callers: list[Any]) -> None:
    """Another caller's request with the same key is a request of its own; the same caller's is not,
    though it is signed anew.
    """
    key = uuid.uuid4().hex

    def task_of(caller: Any, signature: str) -> str:
        event = post("/double/7", idempotency_key=key, authorization=signature)
        event["requestContext"] |= caller
        (task_id,) = ids(api(event, Context()))
        return task_id

    ada, bob = callers
    first = task_of(ada, "AWS4 one")
    assert task_of(ada, "AWS4 two") == first
    assert task_of(bob, "AWS4 three") != first


def test_a_key_is_its_tokens_where_nobody_else_knows_the_caller(api: Handler) -> None:
    """Without an authorizer, callers are told apart by what they send to the application."""
    key = uuid.uuid4().hex
    tasks = [
        ids(api(post("/double/7", idempotency_key=key, authorization=token), Context()))
        for token in ("Bearer ada", "Bearer bob", "Bearer ada")
    ]

    assert tasks[0] == tasks[2] != tasks[1]


def test_a_key_is_its_api_keys_holders(api: Handler) -> None:
    """A REST API's key tells its callers apart where nothing else does."""
    key = uuid.uuid4().hex
    tasks = [
        ids(api(post("/double/7", idempotency_key=key, x_api_key=api_key), Context()))
        for api_key in ("ada", "bob", "ada")
    ]

    assert tasks[0] == tasks[2] != tasks[1]


def test_a_key_is_its_principals_of_a_lambda_authorizer(api: Handler) -> None:
    """Whatever else it passes on: a REST API's authorizer can pass on claims as text alone."""
    key = uuid.uuid4().hex

    def task_of(principal: str) -> list[str]:
        event = post("/double/7", idempotency_key=key)
        passed = {"principalId": principal, "claims": json.dumps({"sub": principal}), "jwt": "x.y"}
        event["requestContext"] |= {"authorizer": passed, "identity": None}
        return ids(api(event, Context()))

    tasks = [task_of(principal) for principal in ("ada", "bob", "ada")]

    assert tasks[0] == tasks[2] != tasks[1]


def test_a_key_counts_for_a_day(api: Handler, cloud: Cloud) -> None:
    """After that the same request is a new one."""
    event = post("/double/7", idempotency_key=uuid.uuid4().hex)
    (first,) = ids(api(event, Context()))
    there = cloud.s3.list_objects_v2(Bucket=cloud.bucket, Prefix="tasks/idempotency/")["Contents"]
    (name,) = (each["Key"] for each in there if first.encode() in cloud.body(each["Key"]))
    record = json.loads(cloud.body(name))
    record["created"] -= 86_401
    cloud.s3.put_object(Bucket=cloud.bucket, Key=name, Body=json.dumps(record))

    (second,) = ids(api(event, Context()))

    assert second != first


def test_in_respond_first_mode_the_response_waits_for_acceptance_not_for_tasks(
    make_runtime: Callable[..., Any], cloud: Cloud
) -> None:
    """The durable task behind a slow plain one is in the ledger when the response arrives."""
    runtime = make_runtime("durable_function.handler", environ={"RESPOND": "before-tasks"})
    invocation = runtime.start(post("/slow-first"))
    answer = invocation.response(timeout=30)

    (task_id,) = ids(answer)
    assert json.loads(cloud.body(f"tasks/{task_id}/task.json"))["id"] == task_id
    assert invocation.end(timeout=30).status == "ok"


def test_a_task_that_is_handed_off_is_counted(
    api: Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API's metrics say how many tasks went to the queue, and which."""
    (task_id,) = ids(api(post("/double/1"), Context()))

    (blob,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert blob["TasksHandedOff"] == 1
    assert {"task": "durables.double", "status": "handed off", "duration_ms": 0.0} in blob["tasks"]
    assert task_id


def test_a_result_that_json_cannot_hold_is_kept_as_its_repr(
    api: Handler, work: Callable[..., list[str]], see: Callable[[str], dict[str, Any]]
) -> None:
    """The function has done its work, and does not do it again."""
    (task_id,) = ids(api(post("/opaque"), Context()))

    assert work(notification(task_id)) == []

    assert (see(task_id)["status"], see(task_id)["result"]) == ("SUCCEEDED", repr(b"\xff\xfe"))


@pytest.mark.parametrize("name", ["func", "self"])
def test_a_parameter_that_a_task_could_not_be_given_is_refused(name: str) -> None:
    """Starlette's BackgroundTask takes these names for itself."""
    made: dict[str, Any] = {"__name__": __name__}
    exec(f"def refused({name}): ...", made)

    with pytest.raises(NotDurable, match=name):
        durable.durable(made["refused"])


def test_an_acceptance_that_does_not_end_in_time_is_no_202(
    make_handler: Callable[..., Handler],
) -> None:
    """What the response would promise is not in the ledger, so the client gets a 504."""
    s3 = FaultyS3(*["hang"] * 20)
    try:
        handler = make_handler(durables.app, bucket=s3.bucket, s3_endpoint=s3.endpoint)
        answer = handler(post("/double/1"), Context(remaining=2))
    finally:
        s3.close()

    assert answer["statusCode"] == 504
    assert ids(answer) == []


def test_a_repeated_request_that_fails_leaves_the_accepted_task_alone(
    api: Handler, cloud: Cloud, make_handler: Callable[..., Handler]
) -> None:
    """The first request's 202 stays true whatever becomes of the second one."""
    event = post("/double/7", idempotency_key=uuid.uuid4().hex)
    (task_id,) = ids(api(event, Context()))
    with proxy_s3(cloud.endpoint) as proxy:
        proxy.deny = 1  # the key is read, the task is not written
        handler = make_handler(durables.app, s3_endpoint=proxy.endpoint)
        assert handler(event, Context())["statusCode"] == 503

    assert api(ask(f"/tasks/{task_id}"), Context())["statusCode"] == 200


def test_a_follower_that_was_left_behind_runs_after_the_repeated_request(
    api: Handler, cloud: Cloud, make_handler: Callable[..., Handler]
) -> None:
    """It is written again, so that the bucket queues it again: its first message may be gone."""
    event = post("/double/7", "times=2", idempotency_key=uuid.uuid4().hex)
    with proxy_s3(cloud.endpoint) as proxy:
        handler = make_handler(durables.app, s3_endpoint=proxy.endpoint)
        proxy.deny = 3  # key read, key written, follower written; not the leader
        assert handler(event, Context())["statusCode"] == 503
        proxy.deny = -1
        proxy.calls.clear()
        answer = handler(event, Context())
        written = [call for call in proxy.calls if call.startswith("PUT")]

    assert answer["statusCode"] == 202
    for task_id in ids(answer):
        assert any(task_id in call for call in written)


def test_a_task_added_by_a_task_is_accepted_too(
    api: Handler, see: Callable[[str], dict[str, Any]]
) -> None:
    """With an Idempotency-Key each has an id of its own."""
    answer = api(post("/two-groups", idempotency_key=uuid.uuid4().hex), Context())

    assert answer["statusCode"] == 202
    (first, *_) = ids(answer)
    assert see(first)["status"] == "QUEUED"
