"""The application's lifespan, started once per execution environment."""

from __future__ import annotations

import asyncio
from typing import Any

from mangum.types import ASGI, Message

from app.log import logger
from handler.errors import LifespanFailed


class Lifespan:
    """Speaks the ASGI lifespan protocol with an application.

    ``state`` is what the application left in the lifespan scope's state; each request gets a
    shallow copy of it.
    """

    def __init__(self, app: ASGI) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._requests: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the application; raise LifespanFailed, with its reason, when it does not start."""
        self._task = asyncio.create_task(self._run(), name="lifespan")
        await self._requests.put({"type": "lifespan.startup"})
        answer = await self._answers.get()
        if answer is not None and answer["type"] == "lifespan.startup.failed":
            raise LifespanFailed(
                f"the application's lifespan did not start:\n{answer.get('message', '')}"
            )

    async def stop(self) -> None:
        """Shut the application down."""
        if self._task is not None and not self._task.done():
            await self._requests.put({"type": "lifespan.shutdown"})
            await self._task

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._requests.get, self._answers.put)
        except Exception as error:  # noqa: BLE001
            # By the specification, an application without a lifespan raises here.
            logger.debug("the application has no lifespan: %r", error)
        finally:
            await self._answers.put(None)
