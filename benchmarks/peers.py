"""The functions that are compared: the same two tasks behind the same route."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import BackgroundTasks, FastAPI
from mangum import Mangum

from handler.api import make_handler


async def on_the_loop(seconds: float) -> None:
    """Take a while on the loop."""
    await asyncio.sleep(seconds)


def in_a_thread(seconds: float) -> None:
    """Take a while in a thread."""
    time.sleep(seconds)


app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer without tasks."""
    return {"status": "ok"}


@app.get("/tasks")
async def tasks(background_tasks: BackgroundTasks, seconds: float) -> dict[str, str]:
    """Answer with an async and a plain task of ``seconds`` each behind."""
    background_tasks.add_task(on_the_loop, seconds)
    background_tasks.add_task(in_a_thread, seconds)
    return {"status": "ok"}


def __getattr__(name: str) -> Any:
    # Each function imports only its own peer's start-up.
    if name == "mangum_alone":
        # Mangum's own handler would run the tasks unisolated: BackgroundTask is left as it is,
        # since nothing has built an Environment in this process.
        return Mangum(app)
    if name == "afterword":
        return make_handler(app)
    raise AttributeError(name)
