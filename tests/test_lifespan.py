"""Promise 6: the application's lifespan runs once per execution environment."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import Context
from fastapi import FastAPI, Request
from function import ask
from starlette.types import Receive, Scope, Send

from handler.errors import LifespanFailed

MakeHandler = Callable[..., Any]


def test_it_starts_once_and_its_state_reaches_each_request(make_handler: MakeHandler) -> None:
    """Three requests, one start; what a request adds to its state, the next one does not see."""
    starts: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
        starts.append("started")
        yield {"pool": "a pool"}

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def endpoint(request: Request) -> dict[str, bool | str]:
        seen = hasattr(request.state, "mine")
        request.state.mine = True
        return {"pool": request.state.pool, "seen": seen}

    handler = make_handler(app)
    bodies = [handler(ask("/"), Context())["body"] for _ in range(3)]

    assert starts == ["started"]
    assert bodies == ['{"pool":"a pool","seen":false}'] * 3


def test_a_lifespan_that_fails_ends_init_with_its_reason(make_handler: MakeHandler) -> None:
    """Lambda's init fails, and the message says what the application raised."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise RuntimeError("no database")
        yield

    with pytest.raises(LifespanFailed, match="no database"):
        make_handler(FastAPI(lifespan=lifespan))


def test_an_application_without_a_lifespan_is_served(make_handler: MakeHandler) -> None:
    """The ASGI specification lets an application raise for a scope that it does not know."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"ok"})

    assert make_handler(app)(ask("/"), Context())["statusCode"] == 200


def test_a_task_that_the_lifespan_started_lives_on(make_handler: MakeHandler) -> None:
    """It belongs to the environment: no invocation waits for it or cancels it."""
    import asyncio

    poller: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        poller.append(asyncio.create_task(asyncio.sleep(3600)))
        yield

    app = FastAPI(lifespan=lifespan)
    handler = make_handler(app)
    for _ in range(2):
        handler(ask("/"), Context(remaining=1.5))

    assert not poller[0].done()
