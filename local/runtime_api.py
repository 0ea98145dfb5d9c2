"""The Lambda Runtime API (2018-06-01), as one process of a function sees it.

Paths and headers are those that AWS documents ("Using the Lambda runtime API for custom
runtimes"), and where the document is silent those of the Runtime Interface Emulator.
"""

from local.api_answers import accepted, json_in, not_found, refused
from local.extensions_api import ExtensionsAPI
from local.function import Function
from local.http_connection import Reply, Request, Response
from local.invocation import FunctionError, Invocation
from local.phases import Phases

# Lambda's quota for a request or a response, with the room that it leaves for an envelope.
LARGEST_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100

_INVOCATION = "/2018-06-01/runtime/invocation/"


class RuntimeAPI:
    """Answers the requests of one process. `handle` is an `http_connection.Handler`."""

    def __init__(self, function: Function, phases: Phases) -> None:
        """`phases` are those of the process, which the requests move on."""
        self._function = function
        self._phases = phases
        self._extensions = ExtensionsAPI(function, phases)

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, now or when there is a next event."""
        match request.method, request.target:
            case "GET", "/2018-06-01/runtime/invocation/next":
                self._next_invocation(reply)
            case "POST", "/2018-06-01/runtime/init/error":
                reply(self._init_error(request))
            case "POST", target if target.startswith(_INVOCATION):
                reply(self._invocation_result(request))
            case _, target if target.startswith(ExtensionsAPI.PREFIX):
                self._extensions.handle(request, reply)
            case _:
                reply(not_found())

    def _next_invocation(self, reply: Reply) -> None:
        def deliver(invocation: Invocation) -> None:
            reply(Response(200, invocation.payload, self._headers(invocation)))

        running = self._phases.invocation
        if running and not running.responded.done():
            deliver(running)  # asked for again: a runtime is not done before it has responded
        else:
            self._phases.ask_for_next(self._phases.runtime, deliver)

    def _headers(self, invocation: Invocation) -> list[tuple[str, str]]:
        return [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self._function.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
        ]

    def _init_error(self, request: Request) -> Response:
        if not self._phases.registration_open:
            return refused("InvalidStateTransition", "init has ended")
        self._phases.fail(FunctionError(json_in(request)))
        return accepted()

    def _invocation_result(self, request: Request) -> Response:
        request_id, _, kind = request.target.removeprefix(_INVOCATION).partition("/")
        invocation = self._phases.invocation
        if kind not in ("response", "error"):
            return not_found()
        if invocation is None or invocation.request_id != request_id:
            return refused("InvalidRequestID", "Invalid request ID", 400)
        if invocation.responded.done():
            return refused("InvalidStateTransition", "the invocation has had its response")
        if kind == "error":
            invocation.fail(FunctionError(json_in(request)))
        elif len(request.body) > LARGEST_PAYLOAD_BYTES:
            return _too_large(invocation)
        else:
            invocation.respond(request.body)
        return accepted()


def _too_large(invocation: Invocation) -> Response:
    limit = f"maximum allowed payload size ({LARGEST_PAYLOAD_BYTES} bytes)."
    message = f"Response payload size exceeded {limit}"
    invocation.fail(FunctionError.of("Function.ResponseSizeTooLarge", message))
    return refused("RequestEntityTooLarge", f"Exceeded {limit}", 413)
