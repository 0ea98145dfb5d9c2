"""Tasks of asyncio's are watched without the application noticing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from conftest import Cloud, Context
from fastapi import FastAPI
from function import ask

from app.log import logger

Handler = Callable[[Any, Any], dict[str, Any]]
MakeHandler = Callable[..., Handler]

since_python_3_12 = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks came with Python 3.12"
)


@asynccontextmanager
async def eager(_: FastAPI) -> AsyncIterator[None]:
    """Have tasks start at once."""
    factory: Any = asyncio.eager_task_factory  # type: ignore[attr-defined,unused-ignore]
    asyncio.get_running_loop().set_task_factory(factory)
    yield


def test_a_stray_that_failed_is_recorded_inside_its_own_invocation(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """Though nobody waited for it, and it was done before the request was."""
    app = FastAPI()

    async def fail() -> None:
        raise ValueError("no")

    @app.get("/")
    async def leave_a_failure() -> None:
        asyncio.create_task(fail())  # noqa: RUF006 - that is the point
        await asyncio.sleep(0.01)

    make_handler(app)(ask("/"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["message"].startswith("Task exception was never retrieved")
    assert record["exception_name"] == "ValueError"


def test_what_a_task_returned_is_not_kept(make_handler: MakeHandler, context: Context) -> None:
    """A request that handles much, a task at a time, holds one result at a time."""
    app = FastAPI()
    alive: set[int] = set()

    class Chunk:
        def __init__(self) -> None:
            alive.add(id(self))

        def __del__(self) -> None:
            alive.discard(id(self))

    async def read() -> Chunk:
        return Chunk()

    @app.get("/")
    async def read_all() -> int:
        most = 0
        for _ in range(20):
            await asyncio.create_task(read())
            most = max(most, len(alive))
        return most

    answer = make_handler(app)(ask("/"), context)

    assert int(answer["body"]) <= 2


def test_an_application_may_build_on_the_task_factory_that_it_finds(
    make_handler: MakeHandler, cloud: Cloud
) -> None:
    """As tracing does, in a request too: its factory is used, and strays are found all the same."""
    app = FastAPI()
    seen: list[str] = []
    left: list[asyncio.Task[None]] = []

    @app.get("/trace")
    async def trace() -> None:
        loop = asyncio.get_running_loop()
        inner: Any = loop.get_task_factory()

        def tracing(loop: Any, coroutine: Any, **options: Any) -> Any:
            seen.append(coroutine.__name__)
            return inner(loop, coroutine, **options)

        loop.set_task_factory(tracing)

    async def late() -> None:
        await asyncio.sleep(0.1)
        logger.info("late")

    @app.get("/stray")
    async def stray() -> None:
        left.append(asyncio.create_task(late()))

    handler = make_handler(app)
    contexts = Context(), Context()
    handler(ask("/trace"), Context())
    answers = [handler(ask("/stray"), context) for context in contexts]

    assert [answer["statusCode"] for answer in answers] == [200, 200]
    assert seen == ["late", "late"]
    assert [cloud.messages(context.aws_request_id) for context in contexts] == [["late"], ["late"]]


@since_python_3_12
def test_strays_that_start_at_once_are_awaited(make_handler: MakeHandler, cloud: Cloud) -> None:
    """With asyncio's eager tasks too."""
    app = FastAPI(lifespan=eager)
    left: list[asyncio.Task[None]] = []

    async def late() -> None:
        logger.info("begun")
        await asyncio.sleep(0.1)
        logger.info("late")

    @app.get("/")
    async def stray() -> None:
        left.append(asyncio.create_task(late()))
        logger.info("responding")

    handler = make_handler(app)
    for context in Context(), Context():
        handler(ask("/"), context)

        assert cloud.messages(context.aws_request_id) == ["begun", "responding", "late"]


@since_python_3_12
def test_task_groups_of_anyios_work_with_eager_tasks(
    make_handler: MakeHandler, context: Context
) -> None:
    """AnyIO, and with it Starlette's middleware, has to know an eager factory when it sees one."""
    app = FastAPI(lifespan=eager)

    async def move_on() -> None:
        with anyio.move_on_after(0.01):
            await anyio.sleep(10)

    @app.get("/")
    async def group() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(move_on)
        return "moved on"

    answer = make_handler(app)(ask("/"), context)

    assert (answer["statusCode"], answer["body"]) == (200, '"moved on"')
