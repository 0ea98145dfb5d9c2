"""One process of a function: the real runtime client, against the local Runtime API.

``local.runtime`` does more than a measurement should have in the way: it freezes, keeps deadlines
and passes on output. The protocol is its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks import cpu_time
from benchmarks.peers import Peer
from benchmarks.processes import ROOT, end_group, on
from local.function import Function
from local.http_server import Server
from local.invocation import Invocation
from local.phases import Phases
from local.runtime_api import RuntimeAPI

TIMEOUT_SECONDS = 60.0


class Wrong(Exception):
    """A function did not answer as it has to."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: of wall time to the response and to the end, of CPU time to the end."""

    response: float
    end: float
    cpu: float


class FunctionProcess:
    """Started with the block, killed with its end. Times are of the monotonic clock."""

    def __init__(
        self,
        peer: Peer,
        environ: Mapping[str, str],
        *,
        core: int | None = None,
        enter: Callable[[int], None] | None = None,
    ) -> None:
        self._function = Function(
            handler=peer.handler,
            environ={**environ, **peer.environ, "PYTHONPATH": str(ROOT)},
            timeout=TIMEOUT_SECONDS,
            cwd=ROOT,
        )
        self._core = core
        self._enter = enter
        self._phases = Phases()
        self._server = Server(RuntimeAPI(self._function, self._phases).handle)
        self._tmpdir = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __aexit__
        self.init = Timing(0, 0, 0)
        self.invocations = 0

    async def __aenter__(self) -> Self:
        """Start, and wait for the end of init."""
        address = await self._server.listen()
        tmpdir = Path(self._tmpdir.name)
        environ = self._function.process_environ(address, tmpdir, "benchmark")
        self._began = time.perf_counter()
        with on(self._core):
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own; nothing else runs here
                [sys.executable, "-m", "awslambdaric", self._function.handler],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )
        if self._enter is not None:
            self._enter(self._process.pid)
        await self._phase()
        seconds = time.perf_counter() - self._began
        self.init = Timing(seconds, seconds, cpu_time.cpu_seconds(self.pid))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill the process and what it started."""
        end_group(self._process)
        self._server.close()
        self._errors.close()
        self._tmpdir.cleanup()

    @property
    def pid(self) -> int:
        """The process id, which is the id of its group too."""
        return self._process.pid

    async def first(self, payload: bytes) -> Timing:
        """Invoke for the first time; the times are from the start of the process."""
        timing = await self.invoke(payload)
        waited = time.perf_counter() - self._began
        return Timing(
            waited - (timing.end - timing.response), waited, cpu_time.cpu_seconds(self.pid)
        )

    async def invoke(self, payload: bytes) -> Timing:
        """Invoke to the end; raises Wrong when the answer is not a 200 with the expected body."""
        cpu = cpu_time.cpu_seconds(self.pid)
        began, clock = time.perf_counter(), time.monotonic()
        invocation = await self.serve(payload)
        ended = time.perf_counter()
        cpu = cpu_time.cpu_seconds(self.pid) - cpu
        assert invocation.response_at is not None  # noqa: S101 - it has been answered
        return Timing(invocation.response_at - clock, ended - began, cpu)

    async def serve(self, payload: bytes) -> Invocation:
        """Invoke to the end, as ``invoke`` does, without a look at the clocks."""
        invocation = Invocation(payload)
        invocation.deadline_ms = int((time.time() + TIMEOUT_SECONDS) * 1000)
        self._phases.invoke(invocation)
        await self._phase()
        check(invocation.response())
        self.invocations += 1
        return invocation

    async def _phase(self) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(self._phases.phase), TIMEOUT_SECONDS)
        except TimeoutError as error:
            code = self._process.poll()
            self._errors.seek(0)
            printed = self._errors.read().decode(errors="replace")
            raise Wrong(f"{self._function.handler} (exit {code}) is stuck: {printed}") from error


def check(answer: Any) -> None:
    """Raise Wrong unless this is what every peer has to answer."""
    if answer["statusCode"] != 200 or json.loads(answer["body"]) != {"status": "ok"}:  # noqa: PLR2004
        raise Wrong(f"unexpected answer: {answer}")
