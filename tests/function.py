"""A function whose requests say what their tasks do; for tests through the real runtime client.

``ask`` makes the event for it. ``GET /run?task=WHAT`` adds one task for each ``task``:
``note:TEXT`` records, ``async:SECONDS`` and ``sync:SECONDS`` take that long and record,
``count:NUMBER`` records and prints numbers, ``raise`` and ``exit`` fail, ``stubborn`` swallows a
cancellation, ``block:PATH`` waits in its thread until the file exists, ``limited`` overruns its own
limit, ``hog`` never lets go of the interpreter.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import BackgroundTasks, FastAPI, Query

import events
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


async def count(number: str) -> None:
    """Record 0 to ``number`` - 1, and print each when it is recorded."""
    for n in range(int(number)):
        logger.info("%s", n)
        print(f"recorded {n}", flush=True)  # noqa: T201
        await asyncio.sleep(0.02)


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


def hog(_: str) -> None:
    """Keep the interpreter: one call into C that does not let go of it."""
    sum(range(10**11))


@time_limit(0.1)
async def limited(_: str) -> None:
    """Take longer than its own limit."""
    await asyncio.sleep(60)


def ask(path: str, *tasks: str, query: str = "") -> dict[str, Any]:
    """Return an event that asks for a path, with tasks or with a query."""
    event: dict[str, Any] = events.load("http-api-health")
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    event["rawQueryString"] = query or "&".join(f"task={quote(task)}" for task in tasks)
    return event


TASKS = {
    "note": note,
    "count": count,
    "async": sleep_async,
    "sync": sleep_sync,
    "raise": fail,
    "exit": leave,
    "stubborn": stubborn,
    "block": block,
    "limited": limited,
    "hog": hog,
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


@app.get("/many")
async def many(background_tasks: BackgroundTasks, tasks: int) -> None:
    """Add many tasks that do nothing."""
    for _ in range(tasks):
        background_tasks.add_task(asyncio.sleep, 0)


strays: set[asyncio.Task[None]] = set()


@app.get("/stray")
async def stray(seconds: str) -> None:
    """Leave a task of asyncio's running."""
    strays.add(asyncio.create_task(sleep_async(seconds)))


async def linger(seconds: float) -> None:
    """Take a while to end after a cancellation."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        await asyncio.sleep(seconds)


@app.get("/slow-stray")
async def slow_stray(seconds: float) -> None:
    """Leave a task running that does not stop at once."""
    strays.add(asyncio.create_task(linger(seconds)))


@app.get("/hang")
async def hang() -> None:
    """Never respond; record a cancellation."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        logger.info("cancelled")
        raise


@app.get("/late")
async def respond_late(seconds: float) -> None:
    """Swallow a cancellation, and respond a while later."""
    await linger(seconds)


@app.get("/stubborn")
async def hang_stubbornly() -> None:
    """Never respond, nor stop."""
    await stubborn("")


def __getattr__(name: str) -> Handler:
    if name != "handler":
        raise AttributeError(name)
    made = globals()[name] = make_handler(app)
    return made
