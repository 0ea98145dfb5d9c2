"""Whatever /openapi.json allows, and what it does not, through the deployed handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from conftest import ROOT, Cloud
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from app.main import app
from local.http_front import HttpFront
from local.http_server import Server
from local.runtime import Runtime

load_all_checks()
NAMES = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
schema = schemathesis.openapi.from_dict(app.openapi())


@pytest.fixture(scope="module")
def url(cloud: Cloud) -> Iterator[str]:
    """The application as ``make run`` serves it: an HTTP front and the real runtime client."""
    loop = asyncio.new_event_loop()
    environ = cloud.environ | {"PYTHONPATH": str(ROOT)}
    with Runtime("handler.api.handler", environ, cwd=ROOT) as runtime:
        server = Server(HttpFront(runtime.start).handle)
        address = loop.run_until_complete(server.listen())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield f"http://{address}"
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_in_the_schema(case: Any, url: str) -> None:
    """No 500; status, content type and body are as documented."""
    checks: list[Callable[..., Any]] = CHECKS.get_by_names(list(NAMES))
    case.call_and_validate(base_url=url, checks=checks)
