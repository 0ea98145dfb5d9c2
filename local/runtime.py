"""Lambda on this machine: a function, its execution environments, and a way to invoke it.

    with Runtime("handler.api.handler", {"BUCKET": "..."}) as runtime:
        invocation = runtime.start(event)
        invocation.response()   # as soon as the function has answered
        invocation.end()        # when its extensions are done too: a Report

Everything is owned by one event loop in a thread; the methods may be called from any other.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Self

from local.execution_environment import ExecutionEnvironment
from local.function import Function
from local.invocation import FunctionError, Invocation, Report

__all__ = ["FunctionError", "Invocation", "Report", "Runtime"]


class Runtime:
    """Serves invocations of one function, each in an environment of its own at the time.

    More invocations than `max_environments` wait in a queue, first come first served. (Lambda
    would throttle them; a queue is more use to a person with one machine.)
    """

    def __init__(
        self,
        handler: str,
        environ: Mapping[str, str] | None = None,
        *,
        timeout: float = 30.0,
        memory: int = 512,
        max_environments: int = 1,
        freeze: bool = True,
        on_output: Callable[[str], None] | None = None,
        cwd: str | Path | None = None,
    ) -> None:
        """`timeout` in seconds; `cwd` is where the handler's module is, by default here.

        `on_output` gets each line that the function prints, from another thread; by default
        they are kept in `output`.
        """
        self.output: list[str] = []
        self._function = Function(
            handler=handler,
            environ=dict(environ or {}),
            timeout=timeout,
            memory=memory,
            cwd=Path(cwd or Path.cwd()),
            freeze=freeze,
            on_output=on_output or self.output.append,
        )
        self._max_environments = max_environments
        self._environments: list[ExecutionEnvironment] = []
        self._idle: list[ExecutionEnvironment] = []  # the most recently used last
        self._outdated: set[ExecutionEnvironment] = set()
        self._queue: deque[Invocation] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="local Lambda", daemon=True
        )

    def __enter__(self) -> Self:
        """Start; the first environment is started by the first invocation."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    def close(self) -> None:
        """End every environment at once, and what still runs in them."""
        if not self._thread.is_alive():
            return
        self._call(self._end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self, event: object, request_id: str | None = None) -> Invocation:
        """Send `event`, JSON or ready-made bytes; returns at once."""
        invocation = Invocation(event, request_id)
        self._loop.call_soon_threadsafe(self._enqueue, invocation)
        return invocation

    def invoke(
        self, event: object, request_id: str | None = None, *, timeout: float | None = None
    ) -> Any:
        """Send `event` and wait for the response; raises FunctionError, TimeoutError."""
        return self.start(event, request_id).response(timeout)

    def recycle(self) -> None:
        """End the idle environments now and the busy ones when they are done."""
        self._call(self._recycle())

    def kill(self) -> None:
        """Kill the process of every environment, as a crash would (SIGKILL)."""
        self._call(self._kill())

    @property
    def environments(self) -> tuple[ExecutionEnvironment, ...]:
        """The environments there are, idle or busy, in the order of their start."""
        return tuple(self._environments)

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    # What follows runs in the loop's thread.

    def _enqueue(self, invocation: Invocation) -> None:
        self._queue.append(invocation)
        self._assign()

    def _assign(self) -> None:
        while self._queue and (environment := self._free_environment()):
            task = self._loop.create_task(self._serve(environment, self._queue.popleft()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _free_environment(self) -> ExecutionEnvironment | None:
        if self._idle:
            return self._idle.pop()
        if len(self._environments) < self._max_environments:
            self._environments.append(ExecutionEnvironment(self._function))
            return self._environments[-1]
        return None

    async def _serve(self, environment: ExecutionEnvironment, invocation: Invocation) -> None:
        await environment.run(invocation)
        if environment in self._outdated:
            await self._end(environment)
        else:
            self._idle.append(environment)
        self._assign()

    async def _recycle(self) -> None:
        idle, self._idle = self._idle, []
        self._outdated.update(set(self._environments) - set(idle))
        await asyncio.gather(*(self._end(environment) for environment in idle))
        self._assign()

    async def _end(self, environment: ExecutionEnvironment) -> None:
        await environment.end()
        self._environments.remove(environment)
        self._outdated.discard(environment)

    async def _kill(self) -> None:
        await asyncio.gather(*(environment.kill() for environment in self._environments))

    async def _end_all(self) -> None:
        queued = list(self._queue)
        self._queue.clear()
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for invocation in queued:
            invocation.abandon()
        await asyncio.gather(*(self._end(each) for each in list(self._environments)))
