"""A function whose requests say what their tasks do; for tests through the real runtime client.

``GET /run?task=WHAT`` adds one task for each ``task``: ``note:TEXT`` records, ``async:SECONDS`` and
``sync:SECONDS`` take that long and record, ``raise`` and ``exit`` fail, ``stubborn`` swallows a
cancellation, ``block:PATH`` waits in its thread until the file exists.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, FastAPI, Query

from app.background import time_limit
from app.log import logger
from handler.api import Handler, make_handler


async def note(text: str) -> None:
    """Record a text."""
    logger.info(text)


async def sleep_async(seconds: str) -> None:
    """Take a while on the loop."""
    await asyncio.sleep(float(seconds))
    logger.info("slept %s s on the loop", seconds)


def sleep_sync(seconds: str) -> None:
    """Take a while in a thread."""
    time.sleep(float(seconds))
    logger.info("slept %s s in a thread", seconds)


def fail(_: str) -> None:
    """Raise."""
    raise ValueError("no")


def leave(_: str) -> None:
    """Try to end the process."""
    raise SystemExit(1)


async def stubborn(_: str) -> None:
    """Swallow a cancellation and go on."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        logger.info("not me")
    await asyncio.sleep(60)


def block(path: str) -> None:
    """Wait, in a thread, for a file to exist."""
    while not Path(path).exists():
        time.sleep(0.01)


@time_limit(0.1)
async def limited(_: str) -> None:
    """Take longer than its own limit."""
    await asyncio.sleep(60)


TASKS = {
    "note": note,
    "async": sleep_async,
    "sync": sleep_sync,
    "raise": fail,
    "exit": leave,
    "stubborn": stubborn,
    "block": block,
    "limited": limited,
}
started = 0


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Count the starts of the application."""
    global started  # noqa: PLW0603
    started += 1
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/run")
async def run(
    background_tasks: BackgroundTasks, task: Annotated[list[str] | None, Query()] = None
) -> dict[str, int]:
    """Add the tasks; answer with the process and how often its lifespan started."""
    for what in task or []:
        name, _, argument = what.partition(":")
        background_tasks.add_task(TASKS[name], argument)
    return {"pid": os.getpid(), "started": started}


strays: set[asyncio.Task[None]] = set()


@app.get("/stray")
async def stray(seconds: str) -> None:
    """Leave a task of asyncio's running."""
    strays.add(asyncio.create_task(sleep_async(seconds)))


@app.get("/hang")
async def hang() -> None:
    """Never respond."""
    await asyncio.sleep(60)


@app.get("/stubborn")
async def hang_stubbornly() -> None:
    """Never respond, nor stop."""
    await stubborn("")


def __getattr__(name: str) -> Handler:
    if name != "handler":
        raise AttributeError(name)
    made = globals()[name] = make_handler(app)
    return made
