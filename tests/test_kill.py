"""Promise 5, when the environment is killed: what was recorded is not lost."""

import random
import time
from collections.abc import Callable

import pytest
from conftest import Cloud
from function import ask

from local.runtime import FunctionError, Runtime

pytestmark = pytest.mark.long

MakeRuntime = Callable[..., Runtime]
RECORDS = 10


@pytest.mark.parametrize("respond", ["after-tasks", "before-tasks"])
def test_a_killed_environment_uploads_its_records_at_the_next_init(
    make_runtime: MakeRuntime, cloud: Cloud, respond: str
) -> None:
    """SIGKILL at random moments: each record is in S3 once, and the next request is served."""
    moments = random.Random(respond)
    lines: list[str] = []
    runtime = make_runtime(environ={"RESPOND": respond}, on_output=lines.append)
    for _ in range(10):
        runtime.invoke(ask("/run"), timeout=30)
        lines.clear()
        killed = runtime.start(ask("/run", f"count:{RECORDS}"))
        time.sleep(moments.uniform(0, 0.25))  # not to wait for anything: the moment is the test
        runtime.kill()
        try:
            killed.response(timeout=30)
        except FunctionError as error:
            assert error.error_type == "Runtime.ExitError"  # noqa: PT017
        killed.end(timeout=30)
        printed = [line.removeprefix("recorded ") for line in lines if "recorded " in line]

        following = runtime.start(ask("/run", "note:next"))
        assert following.response(timeout=30)["statusCode"] == 200
        following.end(timeout=30)

        messages = cloud.messages(killed.request_id)
        assert len(cloud.objects(killed.request_id)) <= 1
        # A record may have been taken and its line of output lost; never the other way round.
        assert messages[: len(printed)] == printed
        assert messages == [str(n) for n in range(len(messages))]
        assert cloud.messages(following.request_id) == ["next"]


def test_an_environment_that_timed_out_uploads_its_records_at_the_next_init(
    make_runtime: MakeRuntime, cloud: Cloud
) -> None:
    """Code that never lets go of the interpreter ends as a Lambda timeout; its record is kept."""
    runtime = make_runtime(timeout=2.0)
    hogged = runtime.start(ask("/run", "note:before", "hog"))

    assert hogged.end(timeout=30).status == "timeout"
    runtime.invoke(ask("/run"), timeout=30)

    assert cloud.messages(hogged.request_id) == ["before"]
