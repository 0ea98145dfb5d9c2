"""`make logs`: what was asked for is shown, in the order of time, and nothing else is read."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest
from conftest import REGION, ROOT, Cloud
from log_bucket import LogBucket, stamp
from proxy_s3 import ProxyS3, proxy_s3
from test_local_run import Run

COMMAND = [sys.executable, "-m", "local.logs"]
PROMPT = 60.0  # seconds, for a machine that is busy with other things


@pytest.fixture
def log(cloud: Cloud, tmp: Any) -> LogBucket:
    """A bucket without a log."""
    return LogBucket.make(cloud)


def environ(log: LogBucket, **more: str) -> dict[str, str]:
    """Return what the command finds in its environment: nothing of this process' own settings."""
    passed_on = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return passed_on | {"AWS_CONFIG_FILE": os.devnull} | log.environ | more


def run(log: LogBucket, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environ(log, **more),
        capture_output=True,
        check=False,
        timeout=PROMPT,
    )


def messages(log: LogBucket, *arguments: str, **more: str) -> list[str]:
    """Return the messages of what the command shows, in order."""
    done = run(log, *arguments, **more)
    assert (done.returncode, done.stderr) == (0, b"")
    return [json.loads(line)["message"] for line in done.stdout.splitlines()]


def record(at: datetime, message: str, **keys: Any) -> str:
    """Return a line of the log."""
    return json.dumps({"timestamp": stamp(at), "level": "INFO", "message": message, **keys}) + "\n"


def ago(**time: float) -> datetime:
    """Return a time in the past."""
    return datetime.now(UTC) - timedelta(**time)


def test_records_are_shown_in_the_order_of_time(log: LogBucket) -> None:
    """Of fresh objects and compacted ones, also when their invocations overlapped."""
    start = log.when
    log.put(record(start, "1") + record(start + timedelta(seconds=9), "4"), start)
    log.compact()
    second = start + timedelta(seconds=2)
    log.put(record(second, "2") + record(start + timedelta(seconds=30), "6"), second)
    third = start + timedelta(seconds=4)
    log.put(record(third, "3") + record(start + timedelta(seconds=11), "5"), third)

    assert messages(log, "--since", "6h") == ["1", "2", "3", "4", "5", "6"]


def test_records_of_the_last_hour_are_shown_when_nothing_is_said(log: LogBucket) -> None:
    """Not those from before, even if they are in the same object."""
    start = ago(minutes=64)
    log.put(record(start, "too early") + record(ago(minutes=56), "in time"), start)
    log.log("now", at=ago(minutes=1))

    assert messages(log) == ["in time", "now"]


def test_a_time_can_be_said_in_either_way(log: LogBucket) -> None:
    """As a duration or in ISO 8601, with or without an offset; the end is excluded."""
    when = log.when.replace(microsecond=0)
    for second in range(5):
        log.log(str(second), at=when + timedelta(seconds=second))
    local = when.astimezone(UTC) + timedelta(hours=2)

    assert messages(log, "--since", "1d") == ["0", "1", "2", "3", "4"]
    assert messages(log, "--since", "1d", "--until", "1h") == ["0", "1", "2", "3", "4"]
    assert messages(log, "--since", "1h") == []
    since = f"{when + timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}"
    until = f"{local + timedelta(seconds=3):%Y-%m-%dT%H:%M:%S}+02:00"
    assert messages(log, "--since", since, "--until", until) == ["1", "2"]


def test_a_record_can_be_in_an_object_of_the_hour_before(log: LogBucket) -> None:
    """An object is named by its invocation's start, a quarter of an hour before at most."""
    hour = log.when.replace(minute=0, second=0, microsecond=0)
    log.put(record(hour, "in the hour"), hour - timedelta(minutes=14))

    assert messages(log, "--since", f"{hour:%Y-%m-%dT%H:%MZ}") == ["in the hour"]


def test_records_are_found_by_their_text(log: LogBucket) -> None:
    """By a regular expression, in the line or in what it says without JSON's escapes."""
    log.log('found "it"', "nothing", at=ago(minutes=2))

    assert messages(log, "--grep", "f.+d") == ['found "it"']
    assert messages(log, "--grep", 'd "it"$') == ['found "it"']
    assert messages(log, "--grep", "message") == ['found "it"', "nothing"]


def test_records_are_found_by_their_request(log: LogBucket) -> None:
    """Only its own object is read, and what cannot be read in it is its own too."""
    wanted, other = str(uuid.uuid4()), str(uuid.uuid4())
    at = ago(minutes=2)
    mine = log.put(record(at, "mine", request_id=wanted) + "not JSON\n", at, wanted)
    log.put(record(at, "another's", request_id=other), at, other)
    with proxy_s3(log.cloud.endpoint) as proxy:
        done = run(log, "--request-id", wanted, AWS_ENDPOINT_URL=proxy.endpoint)

    first, second = done.stdout.splitlines()
    assert (json.loads(first)["message"], second) == ("mine", b"not JSON")
    assert read(proxy) == [mine]


def test_records_are_found_by_their_durable_task(log: LogBucket) -> None:
    """Those that carry its id, whatever requests they are of, compacted or not."""
    log.put(record(log.when, "first attempt", task_id="t-1"), log.when)
    log.put(record(log.when, "another task", task_id="t-2"), log.when)
    log.compact()
    log.compact()
    at = ago(minutes=1)
    log.put(record(at, "second attempt", task_id="t-1") + record(at, "no task"), at)

    assert messages(log, "--since", "1d", "--task", "t-1") == ["first attempt", "second attempt"]


def read(proxy: ProxyS3) -> list[str]:
    """Return the keys of the objects that were read through a proxy."""
    paths = [urlsplit(call.partition(" ")[2]) for call in proxy.calls if call.startswith("GET")]
    return [each.path.split("/", 2)[2] for each in paths if "list-type" not in each.query]


def listed(proxy: ProxyS3) -> list[dict[str, str]]:
    """Return the parameters of the lists that were made through a proxy."""
    queries = [parse_qs(urlsplit(call).query) for call in proxy.calls if "list-type" in call]
    return [{name: values[0] for name, values in query.items()} for query in queries]


def test_what_is_outside_of_the_time_is_neither_listed_nor_read(log: LogBucket) -> None:
    """Each list is of one hour that was asked for, and begins where it may begin."""
    when = log.when.replace(minute=30)
    wanted = log.log("wanted", at=when)
    for minutes in (-300, -90, -20, 20, 90, 200):
        log.log("not wanted", at=when + timedelta(minutes=minutes))
    since, until = when - timedelta(minutes=1), when + timedelta(minutes=1)
    arguments = ("--since", since.isoformat(), "--until", until.isoformat())
    with proxy_s3(log.cloud.endpoint) as proxy:
        assert messages(log, *arguments, AWS_ENDPOINT_URL=proxy.endpoint) == ["wanted"]

    assert read(proxy) == [wanted]
    fresh, compacted = listed(proxy)
    assert fresh["prefix"] == f"log/{when:%Y/%m/%d/%H}/"
    assert (
        fresh["start-after"] == fresh["prefix"] + f"{since - timedelta(minutes=15):%Y%m%dT%H%M%S}"
    )
    assert compacted["prefix"] == f"compacted/{when:%Y/%m/%d/%H}/"


def test_a_long_time_is_looked_through_by_the_hours_that_there_are(log: LogBucket) -> None:
    """Years without a log cost a few lists, not one or two per hour."""
    log.log("old", at=ago(days=700))
    log.log("new", at=ago(minutes=1))
    with proxy_s3(log.cloud.endpoint) as proxy:
        found = messages(log, "--since", "800d", AWS_ENDPOINT_URL=proxy.endpoint)

    assert found == ["old", "new"]
    assert len(listed(proxy)) < 20


@pytest.mark.parametrize("form", ["--raw", "--pretty"])
def test_a_malformed_line_is_shown_as_it_is(log: LogBucket, form: str) -> None:
    """In its place: neither lost nor an error, compacted or not."""
    text = record(log.when, "before") + "{torn\n[1]\n" + record(log.when, "after")
    log.put(text, log.when)
    for _ in range(2):
        done = run(log, "--since", "6h", form)
        lines = done.stdout.decode().splitlines()
        assert lines[1:3] == ["{torn", "[1]"]
        assert "before" in lines[0]
        assert "after" in lines[3]
        assert log.compact()["hours"] in {0, 1}


def test_raw_output_is_what_is_in_s3(log: LogBucket) -> None:
    """Byte by byte, although it is no UTF-8."""
    body = record(log.when, "ü").encode() + b"\xff\xfe\n"
    log.put_again(log.put("", log.when), body)

    assert run(log, "--since", "6h").stdout == body


def test_pretty_output_is_for_people(log: LogBucket) -> None:
    """Time, level, message, further keys, request; then the traceback, indented."""
    at = ago(minutes=1)
    keys = {"service": "s", "request_id": "r-1", "logger": "l", "location": "f:1"}
    outcome = {"task": "app.t", "status": "failed", "duration_ms": 1.5, "exception": "Trace\nError"}
    log.put(record(at, "no\nluck", **keys, **outcome), at)

    assert run(log, "--pretty").stdout.decode() == (
        f"{stamp(at)} INFO     no\n    luck task=app.t status=failed duration_ms=1.5 r-1\n"
        "    Trace\n    Error\n"
    )


def test_no_record_can_command_the_terminal(log: LogBucket) -> None:
    """What a stranger sent is shown with its control characters escaped."""
    at = ago(minutes=1)
    log.put(record(at, "\x1b[2J\u202e\x9b1m", **{"\x1bkey": "\x07"}) + "\x1b[31mtorn\n", at)

    shown = run(log, "--pretty").stdout.decode()

    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "\\u001b[2J\\u202e\\u009b1m" in shown
    assert "\\u001b[31mtorn" in shown


@pytest.mark.parametrize(
    ("arguments", "wrong", "right"),
    [
        (["--since", "yesterday"], "'yesterday'", "15m, 2h, 1d"),
        (["--since", "99999999w"], "'99999999w'", "before all time"),
        (["--since", "1h", "--until", "2h"], "--until", "later than --since"),
        (["--since", "2999-01-01"], "2999-01-01", "future"),
        (["--follow", "--until", "1m"], "--follow", "leave out --until"),
        (["--grep", "("], "'('", "backslash"),
        (["--bucket", "no-such-bucket-at-all"], "no-such-bucket-at-all", "does not exist"),
        (["--stack", "no-such-stack"], "no-such-stack", "does not exist"),
        (["--local", "1"], "port 1", "make run"),
        (["--bucket", "b", "--local"], "--local", "not allowed with"),
        (["--raw", "--pretty"], "--pretty", "not allowed with"),
    ],
)
def test_bad_input_is_a_clear_error(
    log: LogBucket, arguments: list[str], wrong: str, right: str
) -> None:
    """It says what was wrong and what would be right; the exit status is 2."""
    done = run(log, *arguments)

    *_, line = done.stderr.decode().splitlines()
    assert done.returncode == 2
    assert wrong in line
    assert right in line
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr


def test_without_a_place_to_read_from_it_says_which_there_could_be(log: LogBucket) -> None:
    """No bucket, no stack, no variable; and nothing runs here, or several do."""
    done = run(log, BUCKET="")

    line = done.stderr.decode()
    assert done.returncode in {0, 2}  # another test's `make run` may be found
    if done.returncode == 2:
        assert "--local" in line or ("--bucket" in line and "BUCKET" in line)


def test_credentials_that_are_missing_are_named(log: LogBucket) -> None:
    """Without a traceback."""
    variables = {"AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}
    done = run(log, **variables)

    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert "credentials" in line


def test_an_s3_that_refuses_is_one_line(log: LogBucket) -> None:
    """What could not be read is named; the exit status is 1."""

    def deny_all_but_the_first(number: int) -> None:
        proxy.deny = number or -1

    with proxy_s3(log.cloud.endpoint) as proxy:
        proxy.before = deny_all_but_the_first
        done = run(log, AWS_ENDPOINT_URL=proxy.endpoint)

    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert "the log cannot be read: log/" in line
    assert "AccessDenied" in line or "403" in line, line


@contextmanager
def started(log: LogBucket, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command in the background."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environ(log),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_follow_shows_what_comes(log: LogBucket) -> None:
    """What is there at first, then each new object, once; Ctrl-C ends it quietly."""
    log.log("there", at=ago(minutes=2))
    with started(log, "--follow") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["message"] == "there"
        for message in ("came", "came late"):
            log.log(message, at=ago(minutes=1 if message == "came" else 10))
            assert json.loads(process.stdout.readline())["message"] == message
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=PROMPT)
    assert (process.returncode, out, error) == (0, b"", b"")


def test_a_closed_pipe_ends_it_quietly(log: LogBucket) -> None:
    """As in `make logs | head -1`."""
    log.log(*("x" * 1000 for _ in range(1000)), at=ago(minutes=1))
    with started(log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(PROMPT) == 0


def test_a_stack_is_read_by_its_output(log: LogBucket) -> None:
    """The bucket's name comes from CloudFormation."""
    log.log("a", at=ago(minutes=1))
    name = create_stack(log, {"BucketName": {"Value": log.cloud.bucket}})

    assert messages(log, "--stack", name, BUCKET="another") == ["a"]


def test_a_stack_without_the_output_is_named(log: LogBucket) -> None:
    """It may be some other template's."""
    name = create_stack(log, {"Other": {"Value": "x"}})
    done = run(log, "--stack", name)

    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"stack {name} has no output BucketName")


def create_stack(log: LogBucket, outputs: dict[str, Any]) -> str:
    """Create a stack with outputs; returns its name."""
    name = f"stack-{uuid.uuid4().hex}"
    queue = {"Queue": {"Type": "AWS::SQS::Queue"}}
    cloudformation = boto3.client(
        "cloudformation",
        endpoint_url=log.cloud.endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    body = json.dumps({"Resources": queue, "Outputs": outputs})
    cloudformation.create_stack(StackName=name, TemplateBody=body)
    return name


def test_what_runs_on_this_machine_is_found_by_its_port(log: LogBucket) -> None:
    """`make run` leaves word of itself as long as it runs; one's own AWS settings are not used."""
    local = Run()
    local.until("Ctrl-C ends everything")
    url = f"http://127.0.0.1:{local.port}/send-notification/ada@example.com"
    assert httpx.post(url, timeout=PROMPT, trust_env=False).status_code == 200
    local.until(r"\{.*message to.*\}")

    elsewhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "http://[::1]:1"}
    found = messages(log, "--local", str(local.port), **elsewhere)

    assert found == ["message to ada@example.com"]
    assert local.end(signal.SIGTERM) == (0, "")
    assert run(log, "--local", str(local.port)).returncode == 2


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


@pytest.mark.parametrize(
    ("stream", "shown"), [(Screen, "s3://b/log/ 20261124T06 1 objects read"), (io.StringIO, "")]
)
def test_progress_is_shown_on_a_terminal_and_taken_away(
    stream: Callable[[], io.StringIO], shown: str
) -> None:
    """A line that the next line of output does not meet."""
    from local.log_reader import Source
    from local.progress import Progress

    screen = stream()
    with Progress(screen, "s3://b/log/") as progress:
        progress._next = 0.0  # it has been quiet long enough
        progress.count(Source("log/2026/11/24/06/20261124T060000.000Z-1.jsonl", b""))
        assert screen.getvalue() == (f"\r\033[K{shown}" if shown else "")
    assert screen.getvalue() == (f"\r\033[K{shown}\r\033[K" if shown else "")
