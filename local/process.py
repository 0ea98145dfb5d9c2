"""One process of a function: the runtime client, its Runtime API, its output."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from local.function import Function
from local.http_server import Server
from local.invocation import FunctionError, Invocation
from local.output import Output
from local.phases import Phases
from local.runtime_api import RuntimeAPI

# What Lambda gives a function with an internal extension between SIGTERM and SIGKILL.
_SHUTDOWN_SECONDS = 0.5


class Process:
    """A started process group; its leader runs `awslambdaric`."""

    def __init__(self, function: Function, tmpdir: Path) -> None:
        self._function = function
        self._tmpdir = tmpdir
        self._phases = Phases()
        self._server = Server(RuntimeAPI(function, self._phases).handle)
        self._output = Output(function.on_output)
        self.frozen = False

    async def start(self) -> None:
        """Start the process; `init` waits until it is ready."""
        address = await self._server.listen()
        try:
            self._process = await self._spawn(address)
        except OSError as error:
            self.close()
            raise FunctionError.of("Runtime.InvalidEntrypoint", str(error)) from error
        self._exit = asyncio.create_task(self._watch())

    async def _spawn(self, address: str) -> asyncio.subprocess.Process:
        log_stream = time.strftime("%Y/%m/%d/[$LATEST]") + self._tmpdir.name
        return await asyncio.create_subprocess_exec(
            *with_parent(),
            *(sys.executable, "-m", "awslambdaric", self._function.handler),
            cwd=self._function.cwd,
            env=self._function.process_environ(address, self._tmpdir, log_stream),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._output.write_end,
            stderr=self._output.write_end,
            start_new_session=True,
        )

    async def _watch(self) -> None:
        code = await self._process.wait()
        self._signal(signal.SIGKILL)  # what is left of its group
        reason = f"signal: {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        running = self._phases.invocation
        prefix = f"RequestId: {running.request_id} Error: " if running else ""
        message = f"{prefix}Runtime exited with error: {reason}"
        self._phases.fail(FunctionError.of("Runtime.ExitError", message))

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group too."""
        return self._process.pid

    @property
    def exited(self) -> bool:
        """Whether the runtime client is no more."""
        return self._process.returncode is not None

    async def init(self) -> None:
        """Wait for the end of init; raises FunctionError when it failed."""
        await self._phases.phase

    async def invoke(self, invocation: Invocation) -> None:
        """Thaw, deliver, wait for the end of the invocation; raises FunctionError on a crash."""
        self._signal(signal.SIGCONT)
        self.frozen = False
        self._phases.invoke(invocation)
        await self._phases.phase

    def rest(self, *, freeze: bool) -> None:
        """Between invocations: `freeze` stops every thread of the process group."""
        if freeze:
            self._signal(signal.SIGSTOP)
            self.frozen = True
        # Output of the invocation is passed on before its end is told.
        self._output.drain()

    async def shut_down(self) -> None:
        """End the process as Lambda ends an environment that it no longer needs.

        A function without extensions is killed; one with an internal extension gets SIGTERM
        first, and half a second.
        """
        if self._phases.extensions and not self.exited:
            self._signal(signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SHUTDOWN_SECONDS):
                    await self._thawed()
                    self._signal(signal.SIGTERM)
                    await asyncio.shield(self._exit)
        await self.kill()

    async def _thawed(self) -> None:
        """Wait until the main thread is back where it waits for an event.

        Linux lets any thread take a signal that comes while the main one is being thawed, but
        Python acts on it in the main one, which would then sleep on. (proc(5): state S.)
        """
        while _state(self.pid) != "S":  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.001)

    async def kill(self) -> None:
        """Kill the process group, and wait until its leader is gone."""
        if not self.exited:
            self._signal(signal.SIGKILL)
        await asyncio.shield(self._exit)

    def close(self) -> None:
        """Let go of what a process that has exited had."""
        self._server.close()
        self._output.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "S"  # gone, or not Linux: nothing to wait for


def with_parent() -> list[str]:
    """Return what goes before a command line, to have it end with this program.

    However this program ends, SIGKILL too, the kernel then kills what it started. (Frozen
    processes would otherwise stay for good.) Linux only, and only where util-linux is.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
