"""One invocation as its caller sees it: an event, a response, an end."""

import json
import math
import time
import uuid
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["ok", "error", "timeout", "exit"]


class FunctionError(Exception):
    """What Lambda answers when a function failed, timed out or exited.

    `payload` is the whole answer, with `stackTrace` when the runtime sent one.
    """

    def __init__(self, payload: dict[str, Any]) -> None:
        self.payload = payload
        self.error_type = str(payload.get("errorType", ""))
        self.message = str(payload.get("errorMessage", ""))
        super().__init__(f"{self.error_type}: {self.message}")

    @classmethod
    def of(cls, error_type: str, message: str) -> "FunctionError":
        """Make an error that the service reports, rather than the runtime."""
        return cls({"errorType": error_type, "errorMessage": message})


@dataclass(frozen=True)
class Report:
    """What Lambda logs as REPORT at the end of an invocation; times in milliseconds."""

    request_id: str
    status: Status
    cold: bool
    init_ms: float
    response_ms: float
    duration_ms: float

    @property
    def billed_ms(self) -> int:
        """Init and duration, rounded up: Lambda bills both since August 2025."""
        return math.ceil(self.init_ms + self.duration_ms)


class Invocation:
    """A handle on one invocation; its methods may be called from any thread."""

    def __init__(self, event: object, request_id: str | None = None) -> None:
        """`event` is anything JSON can hold; bytes are sent to the function as they are."""
        self.request_id = request_id or str(uuid.uuid4())
        self.payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.trace_id = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
        self.deadline_ms = 0
        self.failed = False
        self.responded: Future[bytes] = Future()
        self.ended: Future[Report] = Future()
        self.response_at: float | None = None

    def response(self, timeout: float | None = None) -> Any:
        """Wait up to `timeout` seconds for the function's answer, parsed.

        Raises FunctionError when the function failed, TimeoutError when there is no answer yet.
        """
        return json.loads(self.responded.result(timeout))

    def end(self, timeout: float | None = None) -> Report:
        """Wait up to `timeout` seconds for the invocation to end; raises TimeoutError."""
        return self.ended.result(timeout)

    def respond(self, payload: bytes) -> None:
        """Hand the function's answer to the caller."""
        if not self.responded.done():
            self.response_at = time.monotonic()
            self.responded.set_result(payload)

    def abandon(self) -> None:
        """Tell whoever waits that there will be no end."""
        self.fail(FunctionError.of("Sandbox.Shutdown", "the local runtime was closed"))
        self.ended.cancel()

    def fail(self, error: FunctionError) -> None:
        """Hand `error` to the caller, unless there has been an answer."""
        self.failed = True
        if not self.responded.done():
            self.response_at = time.monotonic()
            self.responded.set_exception(error)
