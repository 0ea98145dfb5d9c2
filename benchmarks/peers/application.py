"""The FastAPI application that the peers share, with what a measurement asks of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from fastapi import BackgroundTasks, FastAPI

app = FastAPI()

log: Callable[[str], object] = logging.getLogger("benchmark").info
"""Takes one record. A peer puts its own way to log here."""


def log_to(function: Callable[[str], object]) -> None:
    """Let ``function`` take the records."""
    global log  # noqa: PLW0603 - the peers differ in nothing else
    log = function


@app.get("/health")
async def health() -> dict[str, str]:
    """Answer on the loop."""
    return {"status": "ok"}


@app.get("/health-in-a-thread")
def health_in_a_thread() -> dict[str, str]:
    """Answer in a worker thread."""
    return {"status": "ok"}


async def wait_on_the_loop(seconds: float) -> None:
    """Take ``seconds``; for none of them nothing at all, so that a task is what it costs to run."""
    if seconds:
        await asyncio.sleep(seconds)


def wait_in_a_thread(seconds: float) -> None:
    """Take ``seconds``, as above: to sleep for none of them takes the kernel 70 µs."""
    if seconds:
        time.sleep(seconds)


@app.get("/work")
async def work(
    background_tasks: BackgroundTasks,
    records: int = 0,
    on_the_loop: int = 0,
    in_a_thread: int = 0,
    seconds: float = 0.0,
) -> dict[str, str]:
    """Log that many records, add that many tasks of ``seconds`` each."""
    for number in range(records):
        log(f"message to ada{number}@example.com")
    for _ in range(on_the_loop):
        background_tasks.add_task(wait_on_the_loop, seconds)
    for _ in range(in_a_thread):
        background_tasks.add_task(wait_in_a_thread, seconds)
    return {"status": "ok"}
