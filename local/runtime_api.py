"""The Lambda Runtime API and Extensions API, as one process of a function sees them.

Paths, headers and error types are those that AWS documents ("Using the Lambda runtime API",
2018-06-01; "Using the Lambda Extensions API", 2020-01-01), and where the documents are silent
those of the Runtime Interface Emulator.
"""

import json
import uuid
from typing import Any

from local.function import Function
from local.http_server import Reply, Request, Response
from local.invocation import FunctionError, Invocation
from local.phases import Participant, Phases

# Lambda's quota for a request or a response, with the room that it leaves for an envelope.
LARGEST_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100
_MOST_EXTENSIONS = 10

_RUNTIME = "/2018-06-01/runtime/"
_EXTENSION = "/2020-01-01/extension/"


class RuntimeAPI:
    """Answers the requests of one process. `handle` is an `http_server.Handler`."""

    def __init__(self, function: Function, phases: Phases) -> None:
        self._function = function
        self._phases = phases

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, now or when there is a next event."""
        match request.method, request.target:
            case "GET", "/2018-06-01/runtime/invocation/next":
                self._next_invocation(reply)
            case "POST", "/2018-06-01/runtime/init/error":
                self._phases.fail(_error_in(request))
                reply(_accepted())
            case "POST", target if target.startswith(_RUNTIME + "invocation/"):
                reply(self._invocation_result(request))
            case "POST", "/2020-01-01/extension/register":
                reply(self._register(request))
            case _, target if target.startswith(_EXTENSION):
                self._extension_request(request, reply)
            case _:
                reply(_refused(404, "NotFound", f"no such path: {request.target}"))

    def _next_invocation(self, reply: Reply) -> None:
        running = self._phases.invocation
        if running and not running.responded.done():
            reply(_refused(403, "InvalidStateTransition", "the invocation has no response yet"))
            return
        self._phases.ask_for_next(
            self._phases.runtime,
            lambda invocation: reply(Response(200, invocation.payload, self._headers(invocation))),
        )

    def _headers(self, invocation: Invocation) -> list[tuple[str, str]]:
        return [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(invocation.deadline_ms)),
            ("Lambda-Runtime-Invoked-Function-Arn", self._function.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
        ]

    def _invocation_result(self, request: Request) -> Response:
        request_id, _, kind = request.target.removeprefix(_RUNTIME + "invocation/").partition("/")
        invocation = self._phases.invocation
        if invocation is None or invocation.request_id != request_id:
            return _refused(400, "InvalidRequestID", "Invalid request ID")
        if invocation.responded.done():
            return _refused(403, "InvalidStateTransition", "the invocation has had its response")
        if kind == "error":
            invocation.fail(_error_in(request))
        elif kind != "response":
            return _refused(404, "NotFound", f"no such path: {request.target}")
        elif len(request.body) > LARGEST_PAYLOAD_BYTES:
            return self._too_large(invocation)
        else:
            invocation.respond(request.body)
        return _accepted()

    def _too_large(self, invocation: Invocation) -> Response:
        limit = f"maximum allowed payload size ({LARGEST_PAYLOAD_BYTES} bytes)."
        message = f"Response payload size exceeded {limit}"
        invocation.fail(FunctionError.of("Function.ResponseSizeTooLarge", message))
        return _refused(413, "RequestEntityTooLarge", f"Exceeded {limit}")

    def _register(self, request: Request) -> Response:
        if not request.header("lambda-extension-name"):
            return _refused(403, "Extension.InvalidExtensionName", "Empty extension name")
        if not self._phases.registration_open:
            message = "Extension registration closed already"
            return _refused(403, "Extension.RegistrationClosed", message)
        if len(self._phases.extensions) >= _MOST_EXTENSIONS:
            message = f"Extension limit ({_MOST_EXTENSIONS}) reached"
            return _refused(403, "Extension.TooManyExtensions", message)
        events = _json_in(request).get("events", [])
        # Every extension here is an internal one: a thread of the runtime's process.
        if "SHUTDOWN" in events:
            error = "ShutdownEventNotSupportedForInternalExtension"
            return _refused(403, error, f"{error}: register for INVOKE only")
        if not set(events) <= {"INVOKE"}:
            return _refused(403, "Extension.InvalidEventType", f"Invalid event types: {events}")
        identifier = str(uuid.uuid4())
        self._phases.extensions[identifier] = Participant(invoked="INVOKE" in events)
        return self._registered(identifier)

    def _registered(self, identifier: str) -> Response:
        about = {
            "functionName": self._function.name,
            "functionVersion": self._function.version,
            "handler": self._function.handler,
        }
        return _json(200, about, [("Lambda-Extension-Identifier", identifier)])

    def _extension_request(self, request: Request, reply: Reply) -> None:
        identifier = request.header("lambda-extension-identifier")
        extension = self._phases.extensions.get(identifier or "")
        action = request.method, request.target.removeprefix(_EXTENSION)
        if identifier is None:
            message = "Missing Lambda-Extension-Identifier header"
            reply(_refused(403, "Extension.MissingExtensionIdentifier", message))
        elif extension is None:
            message = f"Unknown extension {identifier}"
            reply(_refused(403, "Extension.UnknownExtensionIdentifier", message))
        elif action == ("GET", "event/next"):
            self._phases.ask_for_next(
                extension, lambda invocation: reply(_json(200, self._event(invocation)))
            )
        elif action in (("POST", "init/error"), ("POST", "exit/error")):
            reply(self._extension_failed(request))
        else:
            reply(_refused(404, "NotFound", f"no such path: {request.target}"))

    def _event(self, invocation: Invocation) -> dict[str, Any]:
        return {
            "eventType": "INVOKE",
            "deadlineMs": invocation.deadline_ms,
            "requestId": invocation.request_id,
            "invokedFunctionArn": self._function.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        }

    def _extension_failed(self, request: Request) -> Response:
        error_type = request.header("lambda-extension-function-error-type")
        if not error_type:
            message = "Missing Lambda-Extension-Function-Error-Type header"
            return _refused(403, "Extension.MissingHeader", message)
        self._phases.fail(FunctionError.of(error_type, "an extension reported an error"))
        return _accepted()


def _json_in(request: Request) -> dict[str, Any]:
    try:
        parsed = json.loads(request.body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _error_in(request: Request) -> FunctionError:
    return FunctionError(_json_in(request))


def _json(status: int, value: object, headers: list[tuple[str, str]] | None = None) -> Response:
    return Response(
        status, json.dumps(value).encode(), [("Content-Type", "application/json"), *(headers or [])]
    )


def _accepted() -> Response:
    return _json(202, {"status": "OK"})


def _refused(status: int, error_type: str, message: str) -> Response:
    return _json(status, {"errorMessage": message, "errorType": error_type})
