"""Durable functions for the tests, and the routes that add them."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Response

from app import tasks
from app.durable import durable
from app.log import logger

failing: set[str] = set()


@durable
async def double(number: int) -> dict[str, int]:
    """Return twice the number."""
    logger.info("doubling %s", number)
    return {"doubled": number * 2}


@durable(attempts=3)
def fragile(name: str) -> str:
    """Fail as long as the name is among ``failing``."""
    logger.info("trying %s", name)
    if name in failing:
        raise ValueError(f"{name} is broken")
    return "mended"


@durable(timeout=0.2, attempts=1)
async def endless() -> None:
    """Never end."""
    await asyncio.sleep(3600)


@durable
def remember(day: dt.date, path: Path, *, tags: set[str] | None = None) -> list[Any]:
    """Show that arguments come back as what they were."""
    return [type(day).__name__, type(path).__name__, sorted(tags or ())]


@durable(attempts=10)
def effect(folder: str, name: str) -> str:
    """Leave one line per run in a file, atomically, between two moments."""
    time.sleep(0.15)
    line = f"{os.getpid()}\n".encode()
    descriptor = os.open(Path(folder) / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)
    time.sleep(0.15)
    return name


@durable
async def opaque() -> bytes:
    """Return what JSON cannot hold."""
    logger.info("opaque ran")
    return b"\xff\xfe"


app = FastAPI()
app.include_router(tasks.router)


@app.post("/double/{number}", status_code=202)
async def add_double(number: str, background_tasks: BackgroundTasks, times: int = 1) -> None:
    """Add ``double``, so many times; a plain task after them."""
    for _ in range(times):
        background_tasks.add_task(double, int(number) if number.isdecimal() else number)
    background_tasks.add_task(logger.info, "plain")


@app.post("/fragile/{name}", status_code=202)
def add_fragile(name: str, background_tasks: BackgroundTasks) -> None:
    """Add ``fragile``."""
    background_tasks.add_task(fragile, name)


@app.post("/endless", status_code=202)
def add_endless(background_tasks: BackgroundTasks) -> None:
    """Add ``endless``."""
    background_tasks.add_task(endless)


@app.post("/effect/{name}", status_code=202)
def add_effect(name: str, folder: str, background_tasks: BackgroundTasks) -> None:
    """Add ``effect``."""
    background_tasks.add_task(effect, folder, name)


@app.post("/opaque", status_code=202)
async def add_opaque(background_tasks: BackgroundTasks) -> None:
    """Add ``opaque``."""
    background_tasks.add_task(opaque)


@app.post("/two-groups", status_code=202)
async def add_from_a_task(background_tasks: BackgroundTasks) -> None:
    """Add a durable task, and one more from a plain task."""
    background_tasks.add_task(double, 1)
    background_tasks.add_task(background_tasks.add_task, double, 2)


@app.post("/dropped")
async def add_and_refuse(background_tasks: BackgroundTasks) -> None:
    """Add a task, then raise: FastAPI drops the tasks of a request that failed."""
    background_tasks.add_task(double, 1)
    raise HTTPException(409)


@app.post("/slow-first")
async def add_behind_a_slow_one(background_tasks: BackgroundTasks, response: Response) -> None:
    """Add a slow plain task before a durable one."""
    response.status_code = 202
    background_tasks.add_task(asyncio.sleep, 0.3)
    background_tasks.add_task(double, 21)
