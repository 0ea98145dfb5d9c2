"""Promises 1 and 2: every task runs, in order, isolated; the response stays as sent."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import anyio
import pytest
from conftest import Cloud, Context
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Response
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from function import ask
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.background import BackgroundTasks as StarletteBackgroundTasks
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.routing import Route

from app.log import logger

MakeHandler = Callable[..., Any]


def note(text: str) -> None:
    """Record that a plain task ran."""
    logger.info(text)


async def anote(text: str) -> None:
    """Record that an async task ran."""
    logger.info(text)


def fail(error: BaseException) -> None:
    """Raise in a thread."""
    raise error


async def afail(error: BaseException) -> None:
    """Raise on the loop."""
    raise error


def app_with(*tasks: tuple[Any, ...]) -> FastAPI:
    """Return an app whose route is on a plain router and adds these tasks."""
    router = APIRouter()

    @router.get("/")
    async def add(background_tasks: BackgroundTasks) -> dict[str, str]:
        for function, *arguments in tasks:
            background_tasks.add_task(function, *arguments)
        return {"sent": "yes"}

    app = FastAPI()
    app.include_router(router)
    return app


def test_tasks_run_in_the_order_added(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """Plain and async tasks alternate exactly as they were added."""
    tasks = [(note if n % 2 else anote, f"task {n}") for n in range(6)]

    make_handler(app_with(*tasks))(ask("/"), context)

    assert cloud.messages(context.aws_request_id) == [f"task {n}" for n in range(6)]


def test_tasks_of_dependencies_come_first(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A sub-dependency's task runs before its dependency's, and that before the route's."""
    app = FastAPI()

    def inner(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(note, "sub-dependency")

    def outer(background_tasks: BackgroundTasks, _: Annotated[None, Depends(inner)]) -> None:
        background_tasks.add_task(note, "dependency")

    @app.get("/")
    def add(background_tasks: BackgroundTasks, _: Annotated[None, Depends(outer)]) -> None:
        background_tasks.add_task(note, "route")

    make_handler(app)(ask("/"), context)

    assert cloud.messages(context.aws_request_id) == ["sub-dependency", "dependency", "route"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        StopIteration(),
        GeneratorExit(),
        ExceptionGroup("several", [ValueError("no")]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("failing", [fail, afail])
def test_whatever_a_task_raises_the_next_one_runs(
    make_handler: MakeHandler,
    cloud: Cloud,
    failing: Callable[..., Any],
    error: BaseException,
) -> None:
    """The error is recorded with its traceback, the next task runs, the next request is served."""
    handler = make_handler(app_with((failing, error), (note, "after")))

    for context in (Context(), Context()):
        answer = handler(ask("/"), context)

        assert answer["statusCode"] == 200
        failed, after = cloud.records(context.aws_request_id)
        assert (failed["task"], failed["status"]) == (f"test_tasks.{failing.__name__}", "failed")
        if not isinstance(error, StopIteration) or failing is fail:
            assert failed["exception_name"] == type(error).__name__
        assert failing.__name__ in failed["exception"]
        assert after["message"] == "after"


def test_a_failing_task_does_not_roll_back_the_requests_dependencies(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A ``yield`` dependency commits although a task failed after the 200."""
    app = FastAPI()

    def transaction() -> Iterator[None]:
        try:
            yield
        except BaseException:
            logger.info("rolled back")
            raise
        logger.info("committed")

    @app.get("/")
    def add(background_tasks: BackgroundTasks, _: Annotated[None, Depends(transaction)]) -> None:
        background_tasks.add_task(fail, ValueError("no"))

    answer = make_handler(app)(ask("/"), context)

    assert answer["statusCode"] == 200
    assert cloud.messages(context.aws_request_id)[-1] == "committed"


def _injected(background_tasks: BackgroundTasks) -> None:
    background_tasks.add_task(fail, ValueError("no"))
    background_tasks.add_task(note, "ran")


def _tasks() -> StarletteBackgroundTasks:
    tasks = StarletteBackgroundTasks()
    tasks.add_task(fail, ValueError("no"))
    tasks.add_task(note, "ran")
    return tasks


async def _lines() -> AsyncIterator[str]:
    yield "line"


def _starlette(_: Request) -> Response:
    return JSONResponse({}, background=_tasks())


async def _dispatch(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    return response


async def _dispatch_with_task(request: Request, call_next: Any) -> Response:
    response: Response = await call_next(request)
    response.background = _tasks()
    return response


def _plain() -> dict[str, str]:
    return {}


def _route(endpoint: Callable[..., Any]) -> FastAPI:
    app = FastAPI()
    app.get("/", response_model=None)(endpoint)
    return app


def _mounted(inner: Any) -> FastAPI:
    app = FastAPI()
    app.mount("/", inner)
    return app


def _with_middleware(app: Any, dispatch: Any) -> Any:
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


MADE = {
    "a BackgroundTasks parameter": lambda: _route(_injected),
    "Response(background=...)": lambda: _route(lambda: Response(background=_tasks())),
    "JSONResponse(background=...)": lambda: _route(lambda: JSONResponse({}, background=_tasks())),
    "StreamingResponse": lambda: _route(lambda: StreamingResponse(_lines(), background=_tasks())),
    "FileResponse": lambda: _route(lambda: FileResponse(__file__, background=_tasks())),
    "a mounted FastAPI": lambda: _mounted(_route(_injected)),
    "a mounted Starlette": lambda: _mounted(Starlette(routes=[Route("/", _starlette)])),
    "a plain Starlette route": lambda: Starlette(routes=[Route("/", _starlette)]),
    "behind BaseHTTPMiddleware": lambda: _with_middleware(_route(_injected), _dispatch),
    "of BaseHTTPMiddleware": lambda: _with_middleware(_route(_plain), _dispatch_with_task),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_tasks_are_isolated_whoever_made_them(
    make_handler: MakeHandler, cloud: Cloud, context: Context, make: Callable[[], Any]
) -> None:
    """No route, router, response class or middleware needs a line of this project."""
    answer = make_handler(make())(ask("/"), context)

    assert answer["statusCode"] == 200
    assert cloud.outcomes(context.aws_request_id) == [("fail", "failed")]
    assert cloud.messages(context.aws_request_id)[-1] == "ran"


def test_a_single_background_task_is_isolated(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """``BackgroundTask``, the class for one task, is covered like the list."""
    app = _route(lambda: Response("sent", background=BackgroundTask(fail, ValueError("no"))))

    answer = make_handler(app)(ask("/"), context)

    assert (answer["statusCode"], answer["body"]) == (200, "sent")
    assert cloud.outcomes(context.aws_request_id) == [("fail", "failed")]


def test_context_variables_of_the_request_are_visible_in_its_tasks(
    make_handler: MakeHandler, cloud: Cloud
) -> None:
    """What a middleware and a dependency set, plain and async tasks see; the next request not."""
    tenant = contextvars.ContextVar("tenant", default="nobody")
    user = contextvars.ContextVar("user", default="nobody")
    app = FastAPI()

    class Tenant:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == "/ada":
                tenant.set("acme")
            await self.app(scope, receive, send)

    async def authenticate(name: str) -> None:
        if name == "ada":
            user.set(name)

    def show() -> None:
        logger.info("plain %s %s", tenant.get(), user.get())

    async def ashow() -> None:
        logger.info("async %s %s", tenant.get(), user.get())

    @app.get("/{name}")
    async def add(tasks: BackgroundTasks, _: Annotated[None, Depends(authenticate)]) -> None:
        tasks.add_task(show)
        tasks.add_task(ashow)

    app.add_middleware(Tenant)
    handler = make_handler(app)
    first, second = Context(), Context()
    handler(ask("/ada"), first)
    handler(ask("/bob"), second)

    assert cloud.messages(first.aws_request_id) == ["plain acme ada", "async acme ada"]
    assert cloud.messages(second.aws_request_id) == ["plain nobody nobody", "async nobody nobody"]


def test_context_variables_of_a_task_stay_there(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """What one task sets, plain or async, no task after it sees."""
    tenant = contextvars.ContextVar("tenant", default="nobody")

    def switch(to: str) -> None:
        logger.info("was %s", tenant.get())
        tenant.set(to)

    async def aswitch(to: str) -> None:
        switch(to)

    tasks = [(aswitch, "acme"), (switch, "initech"), (aswitch, "hooli")]
    make_handler(app_with(*tasks))(ask("/"), context)

    assert cloud.messages(context.aws_request_id) == ["was nobody"] * 3


def test_partials_and_callable_objects_are_named(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A failure names the function behind a partial and the class of a callable object."""

    class Sender:
        def __call__(self) -> None:
            raise ValueError

    app = app_with((functools.partial(fail, ValueError("no")),), (Sender(),))
    make_handler(app)(ask("/"), context)

    assert cloud.outcomes(context.aws_request_id) == [("fail", "failed"), ("Sender", "failed")]


def test_a_success_is_recorded_at_debug(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """At level DEBUG a success has its record too, with the task and its duration."""
    logger.setLevel("DEBUG")
    try:
        make_handler(app_with((note, "hello")))(ask("/"), context)
    finally:
        logger.setLevel("INFO")

    _, success = cloud.records(context.aws_request_id)
    assert (success["task"], success["status"]) == ("test_tasks.note", "succeeded")
    assert success["duration_ms"] >= 0


def test_under_uvicorn_tasks_are_isolated_too(caplog: pytest.LogCaptureFixture) -> None:
    """Without an invocation, the same runner isolates and records, and has no deadline."""
    from app import seam

    seam.install()
    tasks = BackgroundTasks()
    tasks.add_task(fail, ValueError("no"))
    tasks.add_task(note, "ran")
    logger.addHandler(caplog.handler)
    try:
        asyncio.run(tasks())
    finally:
        logger.removeHandler(caplog.handler)

    assert [record.getMessage() for record in caplog.records] == [
        "background task failed: ValueError('no')",
        "ran",
    ]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a plain task waits for; set at the end, so that no thread is left over."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_middleware_that_times_out_leaves_no_task_without_its_outcome(
    make_handler: MakeHandler, cloud: Cloud, context: Context, gate: threading.Event, kind: str
) -> None:
    """The task that was running is recorded as timed out, the next one as not started."""

    def wait() -> None:
        gate.wait(60)

    async def await_() -> None:
        await asyncio.sleep(60)

    running = wait if kind == "plain" else await_
    app = app_with((running,), (note, "never"))

    class Impatient:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            with anyio.move_on_after(0.2):
                await self.app(scope, receive, send)

    app.add_middleware(Impatient)
    answer = make_handler(app)(ask("/"), context)

    assert answer["statusCode"] == 200
    assert cloud.outcomes(context.aws_request_id) == [
        (running.__name__, "timed out"),
        ("note", "not started"),
    ]


@pytest.mark.parametrize("when", ["before it begins", "while it runs"])
def test_a_task_that_somebody_cancels_has_failed(
    make_handler: MakeHandler, cloud: Cloud, context: Context, when: str
) -> None:
    """Nothing waits for it any longer, and the next one runs."""
    app = FastAPI()

    @app.get("/")
    async def add(tasks: BackgroundTasks) -> None:
        mine = asyncio.all_tasks()

        def cancel() -> None:
            (task,) = asyncio.all_tasks() - mine
            task.cancel()

        loop = asyncio.get_running_loop()
        tasks.add_task(asyncio.sleep, 60)
        tasks.add_task(note, "after")
        if when == "while it runs":
            loop.call_later(0.1, cancel)
        else:
            loop.call_soon(cancel)

    make_handler(app)(ask("/"), context)

    failure, after = cloud.records(context.aws_request_id)
    assert (failure["task"], failure["status"]) == ("asyncio.tasks.sleep", "failed")
    assert failure["exception_name"] == "CancelledError"
    assert after["message"] == "after"


def test_a_task_for_which_no_thread_can_be_started_has_failed(
    make_handler: MakeHandler, cloud: Cloud, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not run, and is not counted as a success."""

    async def cannot(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    handler = make_handler(app_with((note, "never")))
    # Nothing real can produce this without starving the machine.
    monkeypatch.setattr("app.background.anyio.to_thread.run_sync", cannot)
    handler(ask("/"), context)

    assert cloud.outcomes(context.aws_request_id) == [("note", "failed")]
    assert "can't start new thread" in cloud.messages(context.aws_request_id)[0]
