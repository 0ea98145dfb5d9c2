"""The Lambda runtime in local/: what a function sees there is what it sees on Lambda."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from local.runtime import FunctionError, Runtime

PROMPT = 20.0  # seconds that nothing here takes, so that a fault is a failure and not a hang

# An internal extension that keeps the environment awake until a file appears.
EXTENSION = """
    import http.client, json, os, pathlib, threading, time

    HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
    TMP = pathlib.Path(os.environ["TMPDIR"])

    def call(method, path, body=None, headers={}):
        connection = http.client.HTTPConnection(HOST)
        connection.request(method, "/2020-01-01/extension/" + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())

    def register(events=("INVOKE",), name="tasks"):
        body = json.dumps({"events": list(events)})
        return call("POST", "register", body, {"Lambda-Extension-Name": name})

    def next_event(identifier):
        return call("GET", "event/next", None, {"Lambda-Extension-Identifier": identifier})[2]

    def wait_for(name):
        while not (TMP / name).exists():
            time.sleep(0.002)
"""

HOLDING = (
    EXTENSION
    + """
    status, headers, about = register()
    identifier = headers["Lambda-Extension-Identifier"]
    events = []

    def hold():
        while True:
            events.append(next_event(identifier))
            if len(events) == 1:
                wait_for("go")

    threading.Thread(target=hold, daemon=True).start()

    def handler(event, context):
        return {"status": status, "about": about, "request_id": context.aws_request_id}
"""
)

Start = Callable[..., Runtime]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a runtime whose function is the given source."""
    started = []

    def start_runtime(source: str, **options: Any) -> Runtime:
        (tmp_path / "function.py").write_text(dedent(source))
        runtime = Runtime("function.handler", cwd=tmp_path, **options)
        started.append(runtime)
        return runtime.__enter__()

    yield start_runtime
    for runtime in started:
        runtime.close()


def processes_in_group(group: int) -> list[str]:
    """The state letters of the processes of a process group (proc(5)): T is stopped."""
    states = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            states.append(fields[0])
    return states


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    reached = threading.Event()
    for _ in range(int(PROMPT / 0.005)):
        if condition():
            return
        reached.wait(0.005)
    pytest.fail("waited in vain")


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_the_function_gets_the_event_and_the_caller_its_result(start: Start) -> None:
    """An event goes in as JSON, and what the handler returns comes out."""
    runtime = start("def handler(event, context): return {'got': event}")
    assert runtime.invoke({"a": "é"}, timeout=PROMPT) == {"got": {"a": "é"}}


def test_the_context_is_filled_in(start: Start) -> None:
    """The context has the request id, the function's ARN and the time that is left."""
    runtime = start(
        """
        def handler(event, context):
            left = context.get_remaining_time_in_millis()
            arn = context.invoked_function_arn
            return [context.aws_request_id, arn, left, context.log_group_name]
        """,
        timeout=7.0,
    )
    request_id, arn, left, group = runtime.start(None, "id-1").response(PROMPT)
    assert (request_id, group) == ("id-1", "/aws/lambda/afterword")
    assert arn == "arn:aws:lambda:us-east-1:123456789012:function:afterword"
    assert 6000 < left <= 7000


def test_the_process_gets_no_variable_that_was_not_declared(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials and settings of whoever runs the tests do not reach the function."""
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("MINE", "1")
    runtime = start(
        "import os\ndef handler(event, context): return dict(os.environ)", environ={"GIVEN": "1"}
    )
    environ = runtime.invoke(None, timeout=PROMPT)
    assert environ["GIVEN"] == "1"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    assert environ["TMPDIR"] == str(runtime.environments[0].tmpdir)
    assert not {"AWS_PROFILE", "MINE"} & environ.keys()


def test_an_exception_of_the_handler_reaches_the_caller(start: Start) -> None:
    """A handler that raises gives the caller the error, and stays in use."""
    runtime = start(
        """
        def handler(event, context):
            if event == "fail": raise LookupError("nothing there")
            return "fine"
        """
    )
    failed = runtime.start("fail")
    with pytest.raises(FunctionError, match="LookupError: nothing there") as caught:
        failed.response(PROMPT)
    assert caught.value.payload["stackTrace"]
    assert failed.end(PROMPT).status == "error"
    after = runtime.start("again")
    assert (after.response(PROMPT), after.end(PROMPT).cold) == ("fine", False)


def test_a_module_that_does_not_import_is_an_error_that_says_so(start: Start) -> None:
    """A failed init is answered with the error that the runtime reported."""
    runtime = start("import no_such_module")
    invocation = runtime.start(None)
    with pytest.raises(FunctionError, match="no_such_module") as caught:
        invocation.response(PROMPT)
    assert caught.value.error_type == "Runtime.ImportModuleError"
    assert invocation.end(PROMPT).status == "error"


def test_a_response_that_is_too_large_is_refused(start: Start) -> None:
    """A response of more than 6 MB is Lambda's error, not the caller's problem."""
    runtime = start("def handler(event, context): return 'x' * event")
    assert len(runtime.invoke(6_000_000, timeout=PROMPT)) == 6_000_000
    with pytest.raises(FunctionError) as caught:
        runtime.invoke(7_000_000, timeout=PROMPT)
    assert caught.value.error_type == "Function.ResponseSizeTooLarge"


def test_the_report_tells_cold_from_warm(start: Start) -> None:
    """The first invocation has an init, the second one has none and costs less."""
    runtime = start("def handler(event, context): pass")
    cold, warm = (runtime.start(None).end(PROMPT) for _ in range(2))
    assert (cold.cold, cold.status, warm.cold, warm.init_ms) == (True, "ok", False, 0.0)
    assert cold.init_ms > 0
    assert 0 < warm.response_ms <= warm.duration_ms <= warm.billed_ms < cold.billed_ms


def test_output_is_passed_on_line_by_line_before_the_end(start: Start) -> None:
    """Whatever an invocation printed has arrived when its end is told, broken lines whole."""
    lines: list[str] = []
    source = """
        import os, sys
        def handler(event, context):
            print("one")
            os.write(2, b"two, in ")
            os.write(2, b"pieces\\n" + b"x" * 200_000 + b"\\n")
    """
    start(source, on_output=lines.append).start(None).end(PROMPT)
    assert lines == ["one", "two, in pieces", "x" * 200_000]


def test_the_response_does_not_wait_for_the_extension(start: Start) -> None:
    """The caller has its answer while an extension still holds the environment awake."""
    runtime = start(HOLDING)
    invocation = runtime.start(None)
    assert invocation.response(PROMPT)["status"] == 200
    (environment,) = runtime.environments
    assert not invocation.ended.done()
    assert not environment.frozen
    (environment.tmpdir / "go").touch()
    report = invocation.end(PROMPT)
    assert environment.frozen
    assert report.response_ms < report.duration_ms


def test_the_next_invocation_waits_for_the_extension(start: Start) -> None:
    """An environment that an extension holds awake is not given another invocation."""
    runtime = start(HOLDING)
    first, second = runtime.start(None), runtime.start(None)
    first.response(PROMPT)
    assert not second.responded.done()
    (runtime.environments[0].tmpdir / "go").touch()
    assert second.response(PROMPT)["request_id"] == second.request_id
    assert first.ended.done()


def test_an_extension_is_told_the_function_and_each_invocation(start: Start) -> None:
    """Registering answers with the function, the next event is the invocation."""
    runtime = start(
        EXTENSION
        + """
    _, headers, about = register()
    events = []
    def listen():
        while True:
            events.append(next_event(headers["Lambda-Extension-Identifier"]))
            (TMP / "heard").touch()
    threading.Thread(target=listen, daemon=True).start()
    def handler(event, context):
        wait_for("heard")
        return {"about": about, "event": events[-1]}
    """
    )
    answer = runtime.start(None, "id-1").response(PROMPT)
    assert answer["about"] == {
        "functionName": "afterword",
        "functionVersion": "$LATEST",
        "handler": "function.handler",
    }
    assert answer["event"]["eventType"] == "INVOKE"
    assert answer["event"]["requestId"] == "id-1"
    assert answer["event"]["invokedFunctionArn"].endswith(":afterword")
    assert answer["event"]["deadlineMs"] > 0


@pytest.mark.parametrize(
    ("call", "status", "error_type"),
    [
        ("register()", 403, "Extension.RegistrationClosed"),
        ("next_event_of_nobody()", 403, "Extension.InvalidExtensionIdentifier"),
    ],
)
def test_an_extension_that_comes_late_is_refused(
    start: Start, call: str, status: int, error_type: str
) -> None:
    """After init nothing registers, and whoever did not register gets no event."""
    runtime = start(
        EXTENSION
        + f"""
    def next_event_of_nobody():
        return call("GET", "event/next", None, {{"Lambda-Extension-Identifier": "nobody"}})
    def handler(event, context):
        status, _, answer = {call}
        return [status, answer["errorType"]]
    """
    )
    assert runtime.invoke(None, timeout=PROMPT) == [status, error_type]


def test_an_internal_extension_cannot_subscribe_to_shutdown(start: Start) -> None:
    """SHUTDOWN is for extensions with a process of their own."""
    runtime = start(
        EXTENSION
        + """
    status, _, answer = register(["INVOKE", "SHUTDOWN"])
    def handler(event, context): return [status, answer["errorType"]]
    """
    )
    answer = runtime.invoke(None, timeout=PROMPT)
    assert answer == [403, "Extension.InvalidEventType"]


def test_init_waits_for_the_extension_to_be_ready(start: Start) -> None:
    """An extension that registers and never asks for an event holds init until the time is up."""
    runtime = start(
        EXTENSION
        + """
    register()
    def handler(event, context): pass
    """,
        timeout=0.5,
    )
    # Init has 10 s of its own: what is looked at is that no invocation is delivered meanwhile.
    invocation = runtime.start(None)
    until(lambda: bool(runtime.environments) and runtime.environments[0].pid is not None)
    with pytest.raises(TimeoutError):
        invocation.response(1.0)


@linux
def test_between_invocations_every_thread_stands_still(start: Start) -> None:
    """A thread that was left behind counts on only while an invocation is under way."""
    runtime = start(
        """
        import itertools, os, threading
        beats = itertools.count()
        latest = -1
        def beat():
            global latest
            for latest in beats: pass
        threading.Thread(target=beat, daemon=True).start()
        def handler(event, context): return latest
        """
    )
    first = runtime.start(None)
    before = first.response(PROMPT)
    first.end(PROMPT)
    (environment,) = runtime.environments
    assert environment.pid
    until(lambda: processes_in_group(environment.pid or 0) == ["T"])
    spent = Path(f"/proc/{environment.pid}/stat").read_text().split()[13:15]
    assert environment.frozen
    until(lambda: processes_in_group(environment.pid or 0) == ["T"])
    assert Path(f"/proc/{environment.pid}/stat").read_text().split()[13:15] == spent
    until(lambda: runtime.invoke(None, timeout=PROMPT) > before)


@linux
def test_freezing_can_be_turned_off(start: Start) -> None:
    """With freeze=False the process runs on between invocations."""
    runtime = start("def handler(event, context): pass", freeze=False)
    runtime.start(None).end(PROMPT)
    (environment,) = runtime.environments
    assert not environment.frozen
    assert "T" not in processes_in_group(environment.pid or 0)


def test_the_timeout_kills_the_process_and_keeps_tmp(start: Start) -> None:
    """A function that takes too long is killed; the next invocation is cold, with the same /tmp."""
    runtime = start(
        """
        import os, pathlib, threading
        left = pathlib.Path(os.environ["TMPDIR"]) / "left"
        def handler(event, context):
            found, _ = left.exists(), left.touch()
            if event == "hang": threading.Event().wait()
            return [os.getpid(), found]
        """,
        timeout=1.5,
    )
    hanging = runtime.start("hang", "id-1")
    with pytest.raises(FunctionError, match=r"Z id-1 Task timed out after 1\.50 seconds") as caught:
        hanging.response(PROMPT)
    assert caught.value.error_type == "Sandbox.Timedout"
    report = hanging.end(PROMPT)
    assert report.status == "timeout"
    assert report.duration_ms >= 1500
    after = runtime.start(None)
    assert after.response(PROMPT)[1] is True
    assert after.end(PROMPT).cold
    assert len(runtime.environments) == 1


def test_the_timeout_counts_what_comes_after_the_response(start: Start) -> None:
    """An extension that never ends costs the environment; the response stays as sent."""
    runtime = start(HOLDING, timeout=1.5)
    invocation = runtime.start(None)
    assert invocation.response(PROMPT)["status"] == 200
    assert invocation.end(PROMPT).status == "timeout"
    assert invocation.response(PROMPT)["status"] == 200


@pytest.mark.parametrize("code", [0, 3])
def test_a_process_that_exits_is_an_error_and_the_next_starts_anew(start: Start, code: int) -> None:
    """os._exit in a handler is Runtime.ExitError; /tmp is kept."""
    runtime = start(
        """
        import os
        def handler(event, context):
            if event is not None: os._exit(event)
            return os.environ["TMPDIR"]
        """
    )
    tmpdir = runtime.invoke(None, timeout=PROMPT)
    exiting = runtime.start(code)
    with pytest.raises(FunctionError, match=f"exit status {code}") as caught:
        exiting.response(PROMPT)
    assert caught.value.error_type == "Runtime.ExitError"
    assert exiting.end(PROMPT).status == "exit"
    assert runtime.invoke(None, timeout=PROMPT) == tmpdir


def test_kill_is_a_crash_in_the_middle(start: Start) -> None:
    """A killed environment fails its invocation and serves the next one with the same /tmp."""
    runtime = start(
        """
        import os, pathlib, threading
        def handler(event, context):
            if event:
                print("under way")
                threading.Event().wait()
            return os.environ["TMPDIR"]
        """
    )
    tmpdir = runtime.invoke(None, timeout=PROMPT)
    invocation = runtime.start("hang")
    until(lambda: "under way" in runtime.output)
    runtime.kill()
    with pytest.raises(FunctionError, match="signal: SIGKILL"):
        invocation.response(PROMPT)
    assert invocation.end(PROMPT).status == "exit"
    after = runtime.start(None)
    assert after.response(PROMPT) == tmpdir
    assert after.end(PROMPT).cold


def test_a_process_killed_while_idle_is_replaced(start: Start) -> None:
    """The caller after an idle crash notices nothing but a cold start."""
    runtime = start("import os\ndef handler(event, context): return os.getpid()")
    first = runtime.start(None)
    pid = first.response(PROMPT)
    first.end(PROMPT)
    runtime.kill()
    after = runtime.start(None)
    assert after.response(PROMPT) != pid
    assert after.end(PROMPT).status == "ok"


def test_recycle_makes_the_next_invocation_cold(start: Start) -> None:
    """A recycled environment is gone, with its /tmp."""
    runtime = start("def handler(event, context): pass")
    runtime.start(None).end(PROMPT)
    (environment,) = runtime.environments
    runtime.recycle()
    assert runtime.environments == ()
    assert not environment.tmpdir.exists()
    assert runtime.start(None).end(PROMPT).cold


def test_recycle_lets_a_busy_environment_finish(start: Start) -> None:
    """Recycling waits for the invocation under way; the next one is cold."""
    runtime = start(HOLDING)
    first = runtime.start(None)
    first.response(PROMPT)
    (environment,) = runtime.environments
    runtime.recycle()
    (environment.tmpdir / "go").touch()
    assert first.end(PROMPT).status == "ok"
    second = runtime.start(None)
    second.response(PROMPT)
    (runtime.environments[0].tmpdir / "go").touch()
    assert second.end(PROMPT).cold


MEETING = """
    import os, pathlib, time
    # Each invocation waits until as many as `event` are under way, wherever they are.
    def handler(event, context):
        place = pathlib.Path(event["place"])
        (place / context.aws_request_id).touch()
        while len(list(place.iterdir())) < event["number"]:
            time.sleep(0.002)
        return os.getpid()
"""


def test_concurrent_invocations_have_an_environment_each(start: Start, tmp_path: Path) -> None:
    """Up to the limit, an invocation that finds no idle environment gets a new one."""
    place = tmp_path / "place"
    place.mkdir()
    runtime = start(MEETING, max_environments=3)
    event = {"place": str(place), "number": 3}
    invocations = [runtime.start(event) for _ in range(3)]
    assert len({each.response(PROMPT) for each in invocations}) == 3
    assert len(runtime.environments) == 3


def test_more_invocations_than_environments_wait_their_turn(start: Start) -> None:
    """Beyond the limit invocations queue, and each is served once."""
    runtime = start("def handler(event, context): return event", max_environments=2)
    invocations = [runtime.start(number) for number in range(50)]
    assert [each.response(PROMPT) for each in invocations] == list(range(50))
    assert len(runtime.environments) == 2
    assert sum(each.end(PROMPT).cold for each in invocations) == 2


def test_the_most_recently_used_environment_is_reused(start: Start, tmp_path: Path) -> None:
    """Invocations one after the other keep to one environment."""
    place = tmp_path / "place"
    place.mkdir()
    runtime = start(MEETING, max_environments=2)
    both = [runtime.start({"place": str(place), "number": 2}) for _ in range(2)]
    for each in both:
        each.end(PROMPT)
    pids = []
    for _ in range(3):
        invocation = runtime.start({"place": str(place), "number": 0})
        pids.append(invocation.response(PROMPT))
        invocation.end(PROMPT)
    assert len(set(pids)) == 1


@linux
def test_closing_leaves_no_process_and_no_directory(start: Start) -> None:
    """Frozen, busy or with children of its own: everything is gone after close."""
    runtime = start(
        """
        import os, subprocess, sys, threading
        def handler(event, context):
            subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"])
            if event: print("under way", flush=True); threading.Event().wait()
        """,
        max_environments=2,
    )
    busy = runtime.start("hang")
    until(lambda: "under way" in runtime.output)
    runtime.start(None).end(PROMPT)
    groups = [environment.pid or 0 for environment in runtime.environments]
    tmpdirs = [environment.tmpdir for environment in runtime.environments]
    assert all(processes_in_group(group) for group in groups)
    runtime.close()
    until(lambda: not any(processes_in_group(group) for group in groups))
    assert not any(tmpdir.exists() for tmpdir in tmpdirs)
    with pytest.raises(FunctionError, match="closed"):
        busy.response(PROMPT)


def test_sigterm_comes_first_when_there_is_an_extension(start: Start, tmp_path: Path) -> None:
    """A function with an internal extension is told of its end, one without is not."""
    source = """
        import os, signal
        def told(number, frame):
            open(os.environ["LEFT"], "w").write("told")
            os._exit(0)
        signal.signal(signal.SIGTERM, told)
    """
    plain = tmp_path / "plain"
    runtime = start(
        dedent(source) + "def handler(event, context): pass", environ={"LEFT": str(plain)}
    )
    runtime.start(None).end(PROMPT)
    runtime.recycle()
    assert not plain.exists()
    extended = tmp_path / "extended"
    runtime = start(
        dedent(HOLDING.replace('wait_for("go")', "pass")) + dedent(source),
        environ={"LEFT": str(extended)},
    )
    runtime.start(None).end(PROMPT)
    runtime.recycle()
    assert extended.read_text() == "told"


def test_bytes_are_sent_as_they_are(start: Start) -> None:
    """An event that is already JSON is not encoded again."""
    runtime = start("def handler(event, context): return event")
    assert runtime.invoke(b'{"a": 1}', timeout=PROMPT) == json.loads('{"a": 1}')


def test_a_missing_working_directory_is_an_error(tmp_path: Path) -> None:
    """A process that cannot be started fails the invocation instead of hanging it."""
    with Runtime("function.handler", cwd=tmp_path / os.urandom(4).hex()) as runtime:
        invocation = runtime.start(None)
        with pytest.raises(FunctionError) as caught:
            invocation.response(PROMPT)
    assert caught.value.error_type == "Runtime.InvalidEntrypoint"
