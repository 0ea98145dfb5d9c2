"""The log of an invocation: one object in S3, or its records on stdout; never lost, never mixed."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sources
from conftest import Cloud, Context
from fastapi import BackgroundTasks, FastAPI
from faulty_s3 import FaultyS3

from app.log import handler as log_handler
from app.log import logger

Handler = Callable[[Any, Any], dict[str, Any]]
MakeHandler = Callable[..., Handler]
Capture = pytest.CaptureFixture[str]

ROOT = Path(__file__).parents[1]
KEY = re.compile(r"log/(\d{4})/(\d\d)/(\d\d)/(\d\d)/(\d{8}T\d{6}\.\d{3})Z-([A-Za-z0-9._-]*)\.jsonl")
EVENT = sources.request("http-api", "/")


@pytest.fixture
def make_s3() -> Iterator[Callable[..., FaultyS3]]:
    """A factory of S3s with the behaviours given."""
    made: list[FaultyS3] = []

    def make(*behaviours: str) -> FaultyS3:
        made.append(FaultyS3(*behaviours))
        return made[-1]

    yield make
    for s3 in made:
        s3.close()


MakeS3 = Callable[..., FaultyS3]


def recording(*messages: str) -> FastAPI:
    """Return an application whose / answers "ok" and records messages in a task."""
    return doing(lambda: [logger.info(message) for message in messages])


def doing(task: Callable[[], object]) -> FastAPI:
    """Return an application whose / answers "ok" and adds a task."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> str:
        background_tasks.add_task(task)
        return "ok"

    return app


def with_s3(make_handler: MakeHandler, s3: FaultyS3, app: Any) -> Handler:
    """Return a handler of an app whose log goes to a faulty S3."""
    return make_handler(app, bucket=s3.bucket, s3_endpoint=s3.endpoint)


def stored(s3: FaultyS3) -> list[list[str]]:
    """Return the messages of each object that a faulty S3 has taken."""
    return [
        [json.loads(line)["message"] for line in request.body.decode().splitlines()]
        for request in s3.objects.values()
    ]


def printed(capture: Capture) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the records on stdout, and the metrics."""
    lines = [json.loads(line) for line in capture.readouterr().out.splitlines()]
    metrics: dict[str, Any] = {}
    for line in lines:
        if "_aws" in line:
            metrics |= line
    return [line for line in lines if "_aws" not in line], metrics


def messages(records: list[dict[str, Any]]) -> list[str]:
    """Return the messages of the records that an application made, without the log store's own."""
    return [r["message"] for r in records if "log printed" not in r["message"]]


@pytest.mark.parametrize("behaviour", ["error", "slow down", "drop"])
def test_two_failures_cost_retries_and_no_record(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture, behaviour: str
) -> None:
    """S3 that fails twice gets the records at the third attempt, in one object."""
    s3 = make_s3(behaviour, behaviour)

    answer = with_s3(make_handler, s3, recording("one", "two"))(EVENT, Context())

    assert (answer["statusCode"], answer["body"]) == (200, '"ok"')
    assert stored(s3) == [["one", "two"]]
    records, metrics = printed(capsys)
    assert records == []
    assert "FailedFlushes" not in metrics


def nowhere() -> str:
    """Return an endpoint that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


FAILURES = {
    "error": ["error"] * 9,
    "slow down": ["slow down"] * 9,
    "drop": ["drop"] * 9,
    "hang": ["hang"] * 9,
    "denied": ["denied"] * 9,
    "no bucket": ["no bucket"] * 9,
    "refused": [],
}


@pytest.fixture(params=FAILURES)
def failing_s3(request: pytest.FixtureRequest, make_s3: MakeS3) -> str:
    """The endpoint of an S3 that takes nothing."""
    return make_s3(*FAILURES[request.param]).endpoint if FAILURES[request.param] else nowhere()


def test_what_s3_does_not_take_is_on_stdout(
    make_handler: MakeHandler, failing_s3: str, capsys: Capture
) -> None:
    """When S3 cannot be reached the response is as ever, in time, and each record is on stdout."""
    context = Context(remaining=3.0)
    handler = make_handler(recording("one", "two"), bucket="b", s3_endpoint=failing_s3)
    end = time.monotonic() + context.remaining

    answer = handler(EVENT, context)

    assert time.monotonic() < end
    assert (answer["statusCode"], answer["body"]) == (200, '"ok"')
    records, metrics = printed(capsys)
    assert messages(records) == ["one", "two"]
    assert {record["request_id"] for record in records} == {context.aws_request_id}
    assert metrics["FailedFlushes"] == 1
    assert metrics["request_id"] == context.aws_request_id


def test_a_failed_flush_is_explained(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture
) -> None:
    """A record on stdout names the object that was not written and why, in one line."""
    handler = with_s3(make_handler, make_s3("denied"), recording("one"))

    handler(EVENT, Context())

    (_, explanation) = printed(capsys)[0]
    assert explanation["level"] == "ERROR"
    assert "log/" in explanation["message"]
    assert "PermissionDenied" in explanation["message"]
    assert "\n" not in explanation["message"]


@pytest.mark.parametrize("behaviour", ["denied", "no bucket"])
def test_what_cannot_change_is_not_tried_again(
    make_handler: MakeHandler, make_s3: MakeS3, behaviour: str
) -> None:
    """Without the permission, or the bucket, S3 is asked exactly once."""
    s3 = make_s3(behaviour)

    with_s3(make_handler, s3, recording("one"))(EVENT, Context())

    assert len(s3.requests) == 1


def test_attempts_are_bounded(make_handler: MakeHandler, make_s3: MakeS3) -> None:
    """S3 that fails for long is asked three times."""
    s3 = make_s3(*["error"] * 9)

    with_s3(make_handler, s3, recording("one"))(EVENT, Context())

    assert len(s3.requests) == 3


def test_the_next_invocation_is_not_harmed(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture
) -> None:
    """After a failed flush, the next invocation's records are in S3, and only those."""
    s3 = make_s3(*["error"] * 3)
    numbers = iter("12")
    handler = with_s3(make_handler, s3, doing(lambda: logger.info("record %s", next(numbers))))

    handler(EVENT, Context())
    handler(EVENT, Context())

    assert stored(s3) == [["record 2"]]
    assert messages(printed(capsys)[0]) == ["record 1"]


def test_a_connection_that_died_while_idle_costs_no_record(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture
) -> None:
    """A kept-alive connection that was reset between two invocations is replaced."""
    s3 = make_s3()
    handler = with_s3(make_handler, s3, recording("one"))

    handler(EVENT, Context())
    s3.reset_connections()
    handler(EVENT, Context())

    assert stored(s3) == [["one"], ["one"]]
    assert printed(capsys)[0] == []


@pytest.mark.parametrize("behaviour", ["drop", "hang"])
def test_a_connection_that_dies_with_its_second_request_costs_a_retry(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture, behaviour: str
) -> None:
    """A kept-alive connection that no longer answers, as after a freeze, is given up."""
    s3 = make_s3("ok", behaviour)
    handler = with_s3(make_handler, s3, recording("one"))

    handler(EVENT, Context())
    handler(EVENT, Context(remaining=4.0))

    assert stored(s3) == [["one"], ["one"]]
    assert printed(capsys)[0] == []
    first, second, third = (request.connection for request in s3.requests)
    assert first == second != third


def test_a_connection_is_kept(make_handler: MakeHandler, make_s3: MakeS3) -> None:
    """Invocations of one environment share a connection to S3."""
    s3 = make_s3()
    handler = with_s3(make_handler, s3, recording("one"))

    for _ in range(3):
        handler(EVENT, Context())

    assert len({request.connection for request in s3.requests}) == 1


def test_ten_thousand_records_are_one_object(make_handler: MakeHandler, make_s3: MakeS3) -> None:
    """However many records, they are put by one request, in order."""
    s3 = make_s3()
    expected = [f"record {number}" for number in range(10_000)]

    with_s3(make_handler, s3, recording(*expected))(EVENT, Context())

    assert [request.method for request in s3.requests] == ["PUT"]
    assert stored(s3) == [expected]


def anonymous_bytes() -> int:
    """Return the memory of this process that is not backed by files, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells memory apart")
def test_memory_does_not_grow_with_the_records(
    make_handler: MakeHandler, make_s3: MakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 MB of records are uploaded without taking as much memory."""
    # pytest's own handlers keep every record.
    monkeypatch.setattr(logging.getLogger(logger.name), "handlers", [log_handler])
    s3 = make_s3("ok")
    text = "x" * 5000
    peaks: list[int] = []

    def log() -> None:
        for _ in range(10_000):
            logger.info(text)

    handler = with_s3(make_handler, s3, doing(log))
    handler(EVENT, Context(remaining=60))
    warm = anonymous_bytes()
    s3.on_body = lambda: peaks.append(anonymous_bytes())
    handler(EVENT, Context(remaining=60))

    assert [request.size > 50_000_000 for request in s3.objects.values()] == [True, True]
    assert peaks[0] - warm < 16_000_000


def test_without_records_there_is_no_request(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture
) -> None:
    """An invocation that logged nothing asks nothing of S3, and has nothing to say of it."""
    s3 = make_s3()

    with_s3(make_handler, s3, recording())(EVENT, Context())

    assert s3.requests == []
    assert printed(capsys)[0] == []


def test_the_object_is_ndjson(make_handler: MakeHandler, make_s3: MakeS3) -> None:
    """The content type of a log object is application/x-ndjson."""
    s3 = make_s3()

    with_s3(make_handler, s3, recording("one"))(EVENT, Context())

    (request,) = s3.requests
    assert request.headers["Content-Type"] == "application/x-ndjson"


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's local time is 14 hours ahead of UTC."""
    monkeypatch.setenv("TZ", "UTC-14")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_the_key_has_the_invocation_s_start_in_utc(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """The key is log/YYYY/MM/DD/HH/, then the start of the invocation in UTC and its request id."""
    logged: list[float] = []
    handler = make_handler(doing(lambda: [logger.info("one"), logged.append(time.time())]))
    before = int(time.time() * 1000) / 1000

    handler(EVENT, context)

    (key,) = cloud.objects(context.aws_request_id)
    match = KEY.fullmatch(key)
    assert match is not None
    *folders, stamp, request_id = match.groups()
    started = datetime.strptime(stamp, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
    assert before <= started.timestamp() <= logged[0]
    assert folders == [f"{started:%Y}", f"{started:%m}", f"{started:%d}", f"{started:%H}"]
    assert request_id == context.aws_request_id


@pytest.mark.parametrize(
    "request_id",
    ["../../evil", "a/b", "/etc/passwd", "..", ".", "", "a b", "ü", "a\nb", "a\0b", "x" * 1000],
)
def test_no_request_id_leaves_the_prefix(
    make_handler: MakeHandler, make_s3: MakeS3, tmp: Path, request_id: str
) -> None:
    """A request id, which a local caller may choose, is a part of one file name and no path."""
    s3 = make_s3()

    with_s3(make_handler, s3, recording("one"))(EVENT, Context(request_id))

    (key,) = s3.objects
    assert KEY.fullmatch(key)
    assert json.loads(s3.objects[key].body)["request_id"] == request_id
    assert [path.name for path in tmp.iterdir()] == ["afterword"]
    assert list((tmp / "afterword").iterdir()) == []


def test_the_prefix_can_be_set(make_handler: MakeHandler, make_s3: MakeS3) -> None:
    """LOG_PREFIX takes the place of log/."""
    s3 = make_s3()
    handler = make_handler(
        recording("one"), bucket=s3.bucket, s3_endpoint=s3.endpoint, log_prefix="a/b/"
    )

    handler(EVENT, Context())

    (key,) = s3.objects
    assert KEY.fullmatch(key.replace("a/b/", "log/", 1))


def test_nothing_stays_on_the_disk(make_handler: MakeHandler, make_s3: MakeS3, tmp: Path) -> None:
    """An invocation leaves no file, whether S3 took its records or not."""
    handler = with_s3(make_handler, make_s3("ok", "denied"), recording("one"))

    handler(EVENT, Context())
    handler(EVENT, Context())

    assert [path for path in tmp.rglob("*") if path.is_file()] == []


def test_records_of_two_invocations_never_mix(make_handler: MakeHandler, cloud: Cloud) -> None:
    """Each of many invocations finds its own records, and only those, under its request id."""
    numbers = iter(range(20))

    def log() -> None:
        number = next(numbers)
        logger.info("first of %d", number)
        logging.getLogger("some.library").warning("second of %d", number)

    handler = make_handler(doing(log))
    contexts = [Context() for _ in range(20)]
    for context in contexts:
        handler(EVENT, context)

    for number, context in enumerate(contexts):
        assert cloud.messages(context.aws_request_id) == [
            f"first of {number}",
            f"second of {number}",
        ]


@pytest.fixture
def late_record() -> Iterator[Callable[[], None]]:
    """A task that outlives its invocation and records when it is let go, in a thread."""
    go, done = threading.Event(), threading.Event()

    def task() -> None:
        logger.info("early")
        go.wait(60)
        logger.info("late")
        done.set()

    def let_go() -> None:
        go.set()
        assert done.wait(60)

    task.let_go = let_go  # type: ignore[attr-defined]
    yield task
    go.set()


def test_a_record_after_the_flush_is_on_stdout(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture, late_record: Any
) -> None:
    """What an abandoned thread logs later goes to stdout, with its own request id."""
    s3 = make_s3()
    context = Context(remaining=0.6)
    handler = make_handler(
        doing(late_record), bucket=s3.bucket, s3_endpoint=s3.endpoint, deadline_reserve=0.4
    )
    handler(EVENT, context)
    capsys.readouterr()

    late_record.let_go()

    (record,) = printed(capsys)[0]
    assert (record["message"], record["request_id"]) == ("late", context.aws_request_id)
    assert "late" not in stored(s3)[0]


def test_a_late_record_is_not_the_next_invocation_s(
    make_handler: MakeHandler, make_s3: MakeS3, capsys: Capture, late_record: Any
) -> None:
    """What an abandoned thread logs during the next invocation is not in that one's object."""
    s3 = make_s3()
    first, second = Context(remaining=0.6), Context()
    tasks = iter([late_record, late_record.let_go])
    handler = make_handler(
        doing(lambda: next(tasks)()),  # noqa: PLW0108 - the next one each time
        bucket=s3.bucket,
        s3_endpoint=s3.endpoint,
        deadline_reserve=0.4,
    )

    handler(EVENT, first)
    handler(EVENT, second)

    assert "late" not in stored(s3)[1]
    late = [record for record in printed(capsys)[0] if record["message"] == "late"]
    assert [record["request_id"] for record in late] == [first.aws_request_id]


def test_a_task_that_empties_the_temporary_folder_loses_no_record(
    make_handler: MakeHandler, make_s3: MakeS3, tmp: Path, capsys: Capture
) -> None:
    """Functions are told to clean /tmp; the records before and after it are kept all the same."""
    s3 = make_s3()

    def clean() -> None:
        logger.info("before")
        shutil.rmtree(tmp / "afterword")
        logger.info("after")

    with_s3(make_handler, s3, doing(clean))(EVENT, Context())

    assert stored(s3) == [["before", "after"]]
    assert printed(capsys)[0] == []


def test_without_a_temporary_folder_records_are_on_stdout(
    make_handler: MakeHandler, make_s3: MakeS3, tmp: Path, capsys: Capture
) -> None:
    """Where no spool can be made, each record goes to stdout as it is logged."""
    s3 = make_s3()
    handler = with_s3(make_handler, s3, recording("one", "two"))
    shutil.rmtree(tmp / "afterword")

    answer = handler(EVENT, Context())

    assert answer["statusCode"] == 200
    assert messages(printed(capsys)[0]) == ["one", "two"]


PROGRAM = """
import os, resource, sys
from conftest import Context
from fastapi import BackgroundTasks, FastAPI
from handler.api import make_handler
from app.log import logger
import sources

app = FastAPI()

@app.get("/")
async def endpoint(background_tasks: BackgroundTasks) -> str:
    background_tasks.add_task(task)
    return "ok"

{task}

handler = make_handler(app)
{before}
answer = handler(sources.request("http-api", "/"), Context(sys.argv[1]))
assert answer["statusCode"] == 200
# As Lambda ends it: at the interpreter's own end, obstore's threads may still want to enter it.
sys.stdout.flush()
os._exit(0)
"""


def run(
    s3: FaultyS3, tmp: Path, request_id: str, task: str, before: str = ""
) -> subprocess.Popen[str]:
    """Start an execution environment in a process of its own, and an invocation in it."""
    environ = {
        "BUCKET": s3.bucket,
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "TMPDIR": str(tmp),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(task=task, before=before), request_id],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


KILLED = """
def task():
    logger.info("one")
    logger.info("two")
    (spool,) = os.scandir(os.path.join(os.environ["TMPDIR"], "afterword"))
    with open(spool.path, "a") as file:
        file.write({torn!r})
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def killed(make_s3: MakeS3, tmp: Path) -> Callable[[str, str], None]:
    """Run an invocation that is killed when it has logged two records and a part of a third."""

    def run_and_kill(request_id: str, torn: str) -> None:
        with run(make_s3(), tmp, request_id, KILLED.format(torn=torn)) as process:
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL

    return run_and_kill


@pytest.mark.parametrize("torn", ["", '{"message":"thr'])
def test_what_a_killed_process_left_is_uploaded_at_the_next_init(
    make_handler: MakeHandler, make_s3: MakeS3, killed: Any, torn: str
) -> None:
    """The whole records of a killed invocation become the object that it would have made."""
    s3 = make_s3()
    killed("killed-1", torn)

    with_s3(make_handler, s3, recording())

    (key,) = s3.objects
    match = KEY.fullmatch(key)
    assert match is not None
    assert match[6] == "killed-1"
    assert stored(s3) == [["one", "two"]]


def test_a_torn_record_is_shown(
    make_handler: MakeHandler, make_s3: MakeS3, killed: Any, capsys: Capture
) -> None:
    """What there is of a record that the kill interrupted goes to stdout."""
    killed("killed-2", '{"message":"thr')

    with_s3(make_handler, make_s3(), recording())

    assert capsys.readouterr().out == '{"message":"thr\n'


def test_what_was_left_over_is_uploaded_once(
    make_handler: MakeHandler, make_s3: MakeS3, killed: Any
) -> None:
    """A second init, or an invocation, finds nothing more to upload."""
    s3 = make_s3()
    killed("killed-3", "")

    with_s3(make_handler, s3, recording())
    with_s3(make_handler, s3, recording())(EVENT, Context())

    assert len(s3.requests) == 1


def test_left_over_records_are_not_those_of_the_next_invocation(
    make_handler: MakeHandler, make_s3: MakeS3, killed: Any
) -> None:
    """The first invocation after the kill has an object of its own."""
    s3 = make_s3()
    killed("killed-4", "")

    with_s3(make_handler, s3, recording("three"))(EVENT, Context())

    assert stored(s3) == [["one", "two"], ["three"]]


def test_left_over_records_that_s3_denies_are_printed(
    make_handler: MakeHandler, make_s3: MakeS3, killed: Any, tmp: Path, capsys: Capture
) -> None:
    """Init succeeds all the same, and the records are shown once and not kept."""
    killed("killed-5", "")

    with_s3(make_handler, make_s3("denied"), recording())

    assert messages(printed(capsys)[0]) == ["one", "two"]
    assert list((tmp / "afterword").iterdir()) == []


WAITING = """
def task():
    logger.info("in use")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_spool_in_use_is_left_alone(
    make_handler: MakeHandler, make_s3: MakeS3, tmp: Path
) -> None:
    """The records of a process that lives are its own to upload."""
    its, ours = make_s3(), make_s3()
    with run(its, tmp, "living", WAITING) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        with_s3(make_handler, ours, recording())

        assert ours.requests == []
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert stored(its) == [["in use"]]


def test_a_foreign_file_among_the_spools_does_no_harm(
    make_handler: MakeHandler, make_s3: MakeS3, tmp: Path
) -> None:
    """What is no spool does not keep the environment from starting."""
    folder = tmp / "afterword"
    folder.mkdir()
    (folder / "directory.jsonl").mkdir()
    (folder / "nowhere.jsonl").symlink_to(tmp / "nowhere")
    (folder / "notes.txt").write_text("mine")
    s3 = make_s3()

    handler = with_s3(make_handler, s3, recording("one"))

    assert handler(EVENT, Context())["statusCode"] == 200
    assert stored(s3) == [["one"]]
    assert (folder / "notes.txt").exists()


FULL = """
def task():
    for number in range(100):
        logger.info("record %d", number)
"""
LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))"


def test_what_a_full_disk_does_not_take_is_on_stdout(make_s3: MakeS3, tmp: Path) -> None:
    """When the spool cannot grow any more, each record is either in the object or on stdout."""
    s3 = make_s3()
    with run(s3, tmp, "full", FULL, LIMIT) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0

    (in_s3,) = stored(s3)
    records = [json.loads(line) for line in output.splitlines()]
    on_stdout = [record["message"] for record in records if "message" in record]
    assert 0 < len(in_s3) < 100
    assert in_s3 + on_stdout == [f"record {number}" for number in range(100)]


def test_spools_are_the_process_s_own(make_handler: MakeHandler, tmp: Path) -> None:
    """Other users of the machine can read neither the folder nor the spool."""
    modes: list[int] = []

    def look() -> None:
        logger.info("one")
        (spool,) = (tmp / "afterword").iterdir()
        modes.extend(path.stat().st_mode & 0o077 for path in (spool, spool.parent))

    make_handler(doing(look))(EVENT, Context())

    assert modes == [0, 0]
    assert tempfile.gettempdir() == str(tmp)
