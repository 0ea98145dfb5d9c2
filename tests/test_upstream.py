"""What this project rests on in Starlette, FastAPI, Mangum and AnyIO."""

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

from conftest import Context
from fastapi import BackgroundTasks, Depends, FastAPI
from function import ask
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.responses import Response

import events
from handler.event_source import EventSources

MakeHandler = Callable[..., Any]


class Witness(BackgroundTask):
    """A task that notes that it was awaited."""

    def __init__(self, seen: list[str], name: str) -> None:
        self.seen = seen
        self.name = name
        self.func = len

    async def __call__(self) -> None:
        """Note it."""
        self.seen.append(self.name)


def test_lists_of_tasks_await_each_task() -> None:
    """The runner sits at ``BackgroundTask.__call__``: both lists have to come by it, in order."""
    for kind in (StarletteBackgroundTasks, BackgroundTasks):
        seen: list[str] = []
        tasks = kind()
        tasks.tasks = [Witness(seen, "first"), Witness(seen, "second")]
        asyncio.run(tasks())

        assert seen == ["first", "second"]


def test_a_response_awaits_its_background_after_its_body() -> None:
    """When the response is whole, its tasks have not begun."""
    seen: list[str] = []

    async def send(message: Any) -> None:
        seen.append(message["type"])

    asyncio.run(Response(b"", background=Witness(seen, "task"))({"type": "http"}, None, send))

    assert seen == ["http.response.start", "http.response.body", "task"]


def test_all_parameters_of_a_request_share_one_list() -> None:
    """Dependency, sub-dependency and route add to the same ``BackgroundTasks``."""
    seen: list[int] = []
    app = FastAPI()

    def inner(tasks: BackgroundTasks) -> None:
        seen.append(id(tasks))

    def outer(other: BackgroundTasks, _: Annotated[None, Depends(inner)]) -> None:
        seen.append(id(other))

    @app.get("/")
    def route(background_tasks: BackgroundTasks, _: Annotated[None, Depends(outer)]) -> None:
        seen.append(id(background_tasks))

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(_: Any) -> None:
        """Take it."""

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }
    asyncio.run(app(scope, receive, send))

    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_mangum_tells_sources_apart_and_formats_their_answers() -> None:
    """``infer``, the scope and the call are all that is used of it."""
    sources = EventSources(FastAPI())
    response: Any = {"status": 200, "headers": [], "body": b"ok"}
    kinds = {}
    for name in ("http-api-health", "rest-api-health", "alb-health", "function-url-health"):
        source: Any = sources.infer(events.load(name), Context())  # type: ignore[arg-type]
        kinds[name] = type(source).__name__
        source.scope = source.make_scope()
        assert source.scope["path"] == "/health"
        assert source(response)["statusCode"] == 200

    assert kinds == {
        "http-api-health": "HTTPGateway",
        "rest-api-health": "APIGateway",
        "alb-health": "ALB",
        "function-url-health": "HTTPGateway",
    }


def test_a_plain_endpoint_costs_no_new_thread_after_the_first(make_handler: MakeHandler) -> None:
    """AnyIO keeps its worker threads as long as the root task, which is the environment's."""
    threads: set[threading.Thread] = set()  # not their ids, which are used again
    app = FastAPI()

    @app.get("/")
    def endpoint(tasks: BackgroundTasks) -> None:
        threads.add(threading.current_thread())
        tasks.add_task(lambda: threads.add(threading.current_thread()))

    handler = make_handler(app)
    for _ in range(20):
        handler(ask("/"), Context())

    assert len(threads) == 1
