"""Many requests at once, in respond-first mode."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Cloud
from function import ask

from local.runtime import Runtime

pytestmark = pytest.mark.long

REQUESTS, CONCURRENCY = 500, 20


def test_every_request_has_its_own_answer_and_its_own_records(
    make_runtime: Callable[..., Runtime], cloud: Cloud
) -> None:
    """500 requests, 20 at a time: 500 answers, 500 objects, no record in the wrong one."""
    runtime = make_runtime(environ={"RESPOND": "before-tasks"}, max_environments=CONCURRENCY)

    def request(number: int) -> str:
        tasks = [f"note:{number} async", f"sync:0.00{number % 10}", f"note:{number} last"]
        invocation = runtime.start(ask("/run", *tasks))
        assert invocation.response(timeout=120)["statusCode"] == 200
        assert invocation.end(timeout=120).status == "ok"
        return invocation.request_id

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        ids = list(pool.map(request, range(REQUESTS)))

    keys = cloud.objects("")
    by_id = {request_id: [key for key in keys if request_id in key] for request_id in ids}
    for number, request_id in enumerate(ids):
        (key,) = by_id[request_id]
        records = cloud.lines(key)
        assert [record["message"] for record in records] == [
            f"{number} async",
            f"slept 0.00{number % 10} s in a thread",
            f"{number} last",
        ]
        assert {record["request_id"] for record in records} == {request_id}
    assert all(environment.frozen for environment in runtime.environments)
