"""FastAPI alone: called on a loop that is kept, with a scope that is there. Whatever serves it, in
front of the least that can be done, adds to this.
"""

from __future__ import annotations

import asyncio
from asyncio import base_events
from typing import Any

from mangum import Mangum
from mangum.types import Message

from benchmarks.peers import application

sources = Mangum(application.app, lifespan="off")
loop = asyncio.new_event_loop()
scopes: dict[str, dict[str, Any]] = {}


async def _root() -> None:
    loop.stop()
    await loop.create_future()


root = loop.create_task(_root())
loop.run_forever()
# AnyIO keeps its worker threads as long as the task that has this.
root.add_done_callback(base_events._run_until_complete_cb)  # type: ignore[attr-defined] # noqa: SLF001


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer."""
    target = f"{event['rawPath']}?{event['rawQueryString']}"
    if target not in scopes:
        scopes[target] = dict(sources.infer(event, context).scope)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def serve() -> None:
        try:
            await application.app(dict(scopes[target]), receive, send)
        finally:
            loop.stop()

    task = asyncio.Task(serve(), loop=loop)
    loop.run_forever()
    task.result()
    start, *rest = sent
    body = b"".join(each["body"] for each in rest)
    return {"statusCode": start["status"], "headers": {}, "body": body.decode()}
