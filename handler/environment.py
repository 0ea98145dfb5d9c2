"""One execution environment: event loop, lifespan, settings, clients. Built once, at init."""

from __future__ import annotations

import asyncio
import logging
from asyncio import base_events
from threading import Thread, main_thread
from typing import Any

from mangum.types import ASGI, LambdaContext

from app import log, mail, seam
from app.background import Run
from handler import garbage
from handler.invocation import Invocation, Work
from handler.ledger import Ledger
from handler.lifespan import Lifespan
from handler.log_store import LogStore
from handler.respond import choose
from handler.settings import Settings
from handler.store import Store
from handler.strays import Strays
from handler.uploads import BucketUploads
from handler.watchdog import Watchdog

RECOVERY_SECONDS = 3.0
"""How long init may take for what a killed process left behind; init as a whole has 10 s."""

CLOSE_SECONDS = 1.0

AS_ROOT = base_events._run_until_complete_cb  # type: ignore[attr-defined] # noqa: SLF001
"""By this callback AnyIO tells the root task, to which it binds its worker threads.

A task has it while ``run_until_complete`` runs it; ours stays the root in between. To have a thread
started during init would do too, and take longer than all else that is done there.
"""


class Environment:
    """Serves invocations one after another, as long as the execution environment lives.

    One event loop and one root task live as long. AnyIO keeps its worker threads for as long as
    the root task, so that a plain function does not cost a new thread in each invocation.

    Raises LifespanFailed when the application does not start.
    """

    def __init__(self, app: ASGI, settings: Settings, *, worker: bool = False) -> None:
        seam.install()
        self.settings = settings
        self.loop = asyncio.new_event_loop()
        self.store = Store(settings)
        self.ledger = Ledger(self.store)
        self.uploads = BucketUploads(self.store, settings)
        mail.configure(settings.smtp_url)
        self.log_store = LogStore(self.store, settings.log_prefix)
        self.strays = Strays(self.loop)
        self.watchdog = Watchdog(self.loop)
        self.left_running: list[tuple[str, Run]] = []
        self.lifespan = Lifespan(app)
        self._cold = True
        self._closing = False
        self._failure: BaseException | None = None
        _take_over_the_root_logger()
        garbage.done()
        self._root = self.loop.create_task(self._live(), name="root")
        self._run_loop()
        if self._failure is not None:
            self.loop.close()
            raise self._failure
        self._root.add_done_callback(AS_ROOT)
        # A worker has no response that could leave first.
        respond = "after-tasks" if worker else settings.respond
        self._mode, self._notice = choose(respond, settings, self.loop, self._run_in_thread)
        Thread(target=self._close_with_the_main_thread, name="closer", daemon=True).start()

    async def _live(self) -> None:
        connects = _connects_at_init(self.settings)
        connecting = asyncio.ensure_future(self.store.connect()) if connects else None
        try:
            await self.log_store.recover(self.loop.time() + RECOVERY_SECONDS)
            await self.lifespan.start()
            if connecting is not None:
                await connecting
        except BaseException as error:  # noqa: BLE001 - raised by __init__
            self._failure = error
        self.loop.stop()
        if self._failure is None:
            await self.loop.create_future()

    def _run_loop(self) -> None:
        while not self._root.done():
            try:
                self.loop.run_until_complete(self._root)
            except (SystemExit, KeyboardInterrupt):
                # Of some task, where it is dealt with: it must not end the loop's thread.
                continue
            except RuntimeError:
                # The root task never ends, and this says so when the loop is stopped.
                return

    def _run_in_thread(self) -> None:
        # An application that stops the loop stops nothing: there is no other thread to serve.
        while not self._closing:
            self._run_loop()

    def invoke(self, context: LambdaContext, work: Work) -> None:
        """Run one invocation; return when its answer may leave."""
        remaining = context.get_remaining_time_in_millis() / 1000
        self._mode.serve(Invocation(self, context.aws_request_id, remaining), work)

    def state(self) -> dict[str, Any]:
        """Return what each request finds in ``request.state``."""
        return {"tasks": self.ledger, **self.lifespan.state}

    def skip(self, context: LambdaContext) -> None:
        """Take note of an invocation that will not be run."""
        self._mode.skip(context.aws_request_id)

    def was_cold(self) -> bool:
        """Return True once, for the first invocation."""
        cold, self._cold = self._cold, False
        return cold

    def say_what_is_new(self) -> None:
        """Record what is to be said once, and what earlier invocations left running."""
        if self._notice is not None:
            log.logger.warning(self._notice)
            self._notice = None
        if not self.left_running:
            return
        self.left_running = [(request, run) for request, run in self.left_running if run.running]
        for request_id, run in self.left_running:
            log.logger.warning(
                "still running since request %s: %s", request_id, run.task, extra={"task": run.task}
            )

    def close(self) -> None:
        """Shut the application down and close the loop. Lambda ends environments without it."""
        if self.loop.is_closed():
            return
        self._closing = True
        self._mode.close()
        self._root.remove_done_callback(AS_ROOT)
        self.loop.run_until_complete(self.lifespan.stop())
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.wait(tasks, timeout=CLOSE_SECONDS))
        self.loop.close()

    def _close_with_the_main_thread(self) -> None:
        # AnyIO's worker threads end with the root task, and the interpreter, at its exit, waits for
        # them first: a process that imported the handler would never end.
        main_thread().join()
        self.close()


def _connects_at_init(settings: Settings) -> bool:
    # A connection by TLS takes longer than all else that a first write does, and goes on beside the
    # rest of init. A snapshot would keep it, and the credentials, until both are of no use.
    endpoint = settings.s3_endpoint
    return not settings.snapshot and (endpoint is None or endpoint.startswith("https:"))


def _take_over_the_root_logger() -> None:
    """Send the records of every library where the application's go."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        # The runtime client's own handler would print them to stdout as plain text.
        if type(handler).__module__.startswith("awslambdaric"):
            root.removeHandler(handler)
    if log.handler not in root.handlers:
        root.addHandler(log.handler)
