"""One execution environment: a TMPDIR, and one process at a time."""

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from local.function import Function
from local.invocation import FunctionError, Invocation, Report, Status
from local.process import Process

# "The Init phase is limited to 10 seconds" for on-demand functions.
INIT_SECONDS = 10.0


@dataclass
class _Measured:
    cold: bool
    init_ms: float = 0.0
    started_at: float = 0.0


class ExecutionEnvironment:
    """Runs one invocation at a time; its TMPDIR (Lambda's /tmp) outlives its processes."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._process: Process | None = None
        self._was_reset = False
        self.tmpdir = Path(tempfile.mkdtemp(prefix="afterword-"))

    @property
    def pid(self) -> int | None:
        """The id of the process, which leads its process group; None when there is none."""
        return self._process.pid if self._process else None

    @property
    def frozen(self) -> bool:
        """Whether the process stands still until the next invocation."""
        return self._process is not None and self._process.frozen

    async def run(self, invocation: Invocation) -> None:
        """Run `invocation` to its end, and freeze."""
        if self._process and self._process.exited:
            await self._reset()
        measured = _Measured(cold=self._process is None)
        status: Status = "ok"
        try:
            await self._first_init(measured)
            measured.started_at = time.monotonic()
            await self._invoke(invocation)
            status = "error" if invocation.failed else "ok"
        except TimeoutError:
            status = "timeout"
            invocation.fail(_timed_out(invocation, self._function.timeout))
            await self._reset()
        except FunctionError as error:
            status = "exit" if error.error_type == "Runtime.ExitError" else "error"
            invocation.fail(error)
            await self._reset()
        except asyncio.CancelledError:
            invocation.abandon()
            raise
        invocation.ended.set_result(_report(invocation, status, measured))

    async def _first_init(self, measured: _Measured) -> None:
        """Go through the Init phase, which comes before the invocation and has its own limit.

        When it fails, or after a crash, Lambda repeats it inside the invocation and inside the
        function's timeout ("suppressed init"): `_invoke` does.
        """
        if self._process or self._was_reset:
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(INIT_SECONDS):
                await self._init()
        except (TimeoutError, FunctionError):
            await self._reset()
        measured.init_ms = (time.monotonic() - began) * 1000

    async def _init(self) -> Process:
        process = Process(self._function, self.tmpdir)
        start = asyncio.ensure_future(process.start())
        try:
            await asyncio.shield(start)
        finally:
            # Out of time or closing: a process half started must not be lost sight of.
            await start
            self._process = process
        await process.init()
        return process

    async def _invoke(self, invocation: Invocation) -> None:
        invocation.deadline_ms = int((time.time() + self._function.timeout) * 1000)
        async with asyncio.timeout(self._function.timeout):
            process = self._process or await self._init()
            await process.invoke(invocation)
            process.rest(freeze=self._function.freeze)

    async def _reset(self) -> None:
        await self.kill()
        self._was_reset = True
        if self._process:
            self._process.close()
            self._process = None

    async def kill(self) -> None:
        """End the process as a crash does; the next invocation resets the environment."""
        if self._process:
            await self._process.kill()

    async def end(self) -> None:
        """End the environment, with its TMPDIR."""
        if self._process:
            await self._process.shut_down()
            self._process.close()
            self._process = None
        shutil.rmtree(self.tmpdir, ignore_errors=True)


def _timed_out(invocation: Invocation, seconds: float) -> FunctionError:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = f"{now} {invocation.request_id} Task timed out after {seconds:.2f} seconds"
    return FunctionError.of("Sandbox.Timedout", message)


def _report(invocation: Invocation, status: Status, measured: _Measured) -> Report:
    now = time.monotonic()
    return Report(
        request_id=invocation.request_id,
        status=status,
        cold=measured.cold,
        init_ms=measured.init_ms,
        response_ms=((invocation.response_at or now) - measured.started_at) * 1000,
        duration_ms=(now - measured.started_at) * 1000,
    )
