"""The Lambda Extensions API (2020-01-01), for internal extensions: threads of the runtime.

Paths, headers and the rule that registration ends with init are those that AWS documents
("Using the Lambda Extensions API to create extensions"); the error types, which it does not
list, are those of the Runtime Interface Emulator.
"""

import uuid
from typing import Any

from local.api_answers import accepted, answer, json_in, not_found, refused
from local.function import Function
from local.http_connection import Reply, Request, Response
from local.invocation import FunctionError, Invocation
from local.phases import Participant, Phases

_MOST_EXTENSIONS = 10


class ExtensionsAPI:
    """Answers requests below PREFIX. `handle` is an `http_connection.Handler`."""

    PREFIX = "/2020-01-01/extension/"

    def __init__(self, function: Function, phases: Phases) -> None:
        """`phases` are those of the process, which the requests move on."""
        self._function = function
        self._phases = phases

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request, now or when there is a next event."""
        action = request.method, request.target.removeprefix(self.PREFIX)
        if action == ("POST", "register"):
            reply(self._register(request))
            return
        extension = self._sender(request)
        if isinstance(extension, Response):
            reply(extension)
        elif action == ("GET", "event/next"):
            self._phases.ask_for_next(
                extension, lambda invocation: reply(answer(self._event(invocation)))
            )
        elif action in (("POST", "init/error"), ("POST", "exit/error")):
            reply(self._failed(request))
        else:
            reply(not_found())

    def _register(self, request: Request) -> Response:
        name = request.header("lambda-extension-name")
        events = json_in(request).get("events")
        if not name:
            return refused("Extension.InvalidExtensionName", "Empty extension name")
        if not isinstance(events, list):
            return refused("InvalidRequestFormat", "no list of events")
        return self._refusal(name, events) or self._registered(name, events)

    def _refusal(self, name: str, events: list[str]) -> Response | None:
        extensions = self._phases.extensions
        if not self._phases.registration_open:
            message = "Extension registration closed already"
            return refused("Extension.RegistrationClosed", message)
        if any(each.name == name for each in extensions.values()):
            message = "Extension with this name already registered"
            return refused("Extension.InvalidExtensionState", message)
        if len(extensions) >= _MOST_EXTENSIONS:
            message = f"Extension limit ({_MOST_EXTENSIONS}) reached"
            return refused("Extension.TooManyExtensions", message)
        for event in events:
            if event == "SHUTDOWN":
                message = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
                return refused("Extension.InvalidEventType", message)
            if event != "INVOKE":
                return refused("Extension.InvalidEventType", f"{event}: ErrorInvalidEventType")
        return None

    def _registered(self, name: str, events: list[str]) -> Response:
        identifier = str(uuid.uuid4())
        self._phases.extensions[identifier] = Participant(name, invoked="INVOKE" in events)
        about = {
            "functionName": self._function.name,
            "functionVersion": self._function.version,
            "handler": self._function.handler,
        }
        return answer(about, [("Lambda-Extension-Identifier", identifier)])

    def _sender(self, request: Request) -> Participant | Response:
        identifier = request.header("lambda-extension-identifier")
        if not identifier:
            message = "Missing Lambda-Extension-Identifier header"
            return refused("Extension.MissingExtensionIdentifier", message)
        try:
            uuid.UUID(identifier)
        except ValueError:
            message = "Invalid Lambda-Extension-Identifier"
            return refused("Extension.InvalidExtensionIdentifier", message)
        unknown = refused("Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")
        return self._phases.extensions.get(identifier, unknown)

    def _event(self, invocation: Invocation) -> dict[str, Any]:
        return {
            "eventType": "INVOKE",
            "deadlineMs": invocation.deadline_ms,
            "requestId": invocation.request_id,
            "invokedFunctionArn": self._function.arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace_id},
        }

    def _failed(self, request: Request) -> Response:
        error_type = request.header("lambda-extension-function-error-type")
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type not found"
            return refused("Extension.MissingHeader", message)
        self._phases.fail(FunctionError.of(error_type, "an extension reported an error"))
        return accepted()
