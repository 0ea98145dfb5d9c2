"""Tells HTTP events from all others, and turns them into ASGI and their answers back, by Mangum."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from mangum import Mangum
from mangum.handlers import ALB, APIGateway, HTTPGateway
from mangum.types import ASGI, LambdaContext, LambdaHandler, Response, Scope

from handler.errors import BadRequest, UnsupportedEvent
from handler.security import SECURITY_HEADERS, secure

TAKEN = "API Gateway HTTP API (payload 2.0) and REST API (payload 1.0), function URL, ALB"
LONGEST_LIST = 8


class EventSources(Mangum):
    """Mangum's knowledge of the event sources, without its HTTP cycle and its lifespan."""

    def __init__(self, app: ASGI) -> None:
        super().__init__(app, lifespan="off", custom_handlers=_SOURCES)

    def _setup_event_loop(self) -> None:
        """Leave the event loop to the execution environment."""


def _with_scope_made_once(source: type[LambdaHandler]) -> type[LambdaHandler]:
    # Mangum makes the scope when it is asked for it, and asks again to format the answer.
    make_scope = source.scope.fget  # type: ignore[attr-defined]
    return type(source.__name__, (source,), {"scope": None, "make_scope": make_scope})


_SOURCES = [_with_scope_made_once(source) for source in (HTTPGateway, APIGateway, ALB)]


class HttpEvent:
    """An event that is an HTTP request.

    Raises UnsupportedEvent when it is none. ``scope`` and ``body`` raise BadRequest when it is one
    that cannot be read, or has more than ``max_body`` bytes.
    """

    def __init__(
        self, sources: EventSources, event: Any, context: LambdaContext, max_body: int
    ) -> None:
        if not _is_http(event):
            raise UnsupportedEvent(f"this handler takes {TAKEN}; this event is {describe(event)}")
        self._event: dict[str, Any] = event
        self._max_body = max_body
        self._source: Any = sources.infer(event, context)

    @property
    def scope(self) -> Scope:
        """The ASGI scope of the request."""
        try:
            scope: Scope = self._source.make_scope()
            self._source.scope = scope
            scope["root_path"], scope["path"] = _paths(self._event, scope["path"])
            scope["headers"] = _with_one_cookie_header(self._event, scope["headers"])
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadRequest(f"the request cannot be read: {error}") from error
        # Version 2.4 lets Starlette stream without a task that listens for a disconnect.
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        return scope

    @property
    def body(self) -> bytes:
        """The request's body."""
        raw = self._event.get("body")
        if not raw:
            return b""
        try:
            if self._event.get("isBase64Encoded"):
                body = base64.b64decode(raw, validate=True)
            else:
                body = raw.encode() if isinstance(raw, str) else bytes(raw)
        except (ValueError, TypeError) as error:
            raise BadRequest(f"the body is not what it claims to be: {error}") from error
        if len(body) > self._max_body:
            raise BadRequest(f"the body has {len(body)} bytes, of {self._max_body} allowed", 413)
        return body

    def answer(self, response: Response) -> dict[str, Any]:
        """Format a response as the event's source wants it."""
        return secure(self._source(response))

    def refuse(self, status: int, reason: str) -> dict[str, Any]:
        """Return an answer that each of the sources takes, to a request that Mangum cannot read."""
        headers = {"content-type": "application/json"}
        headers |= SECURITY_HEADERS
        return {
            "statusCode": status,
            "headers": headers,
            "multiValueHeaders": {key: [value] for key, value in headers.items()},
            "body": json.dumps({"detail": reason}),
            "isBase64Encoded": False,
        }


def _is_http(event: Any) -> bool:
    if not isinstance(event, dict):
        return False
    context = event.get("requestContext")
    if not isinstance(context, dict) or "methodArn" in event or "routeArn" in event:
        return False
    if event.get("version") == "2.0":
        return "http" in context
    return "httpMethod" in event and "path" in event and ("elb" in context or "resource" in event)


def _paths(event: dict[str, Any], decoded: str) -> tuple[str, str]:
    """Return the stage's prefix, "" or "/stage", and the whole path with it, as the client has it.

    ``decoded`` is the path that Mangum made of the event's.
    """
    context = event["requestContext"]
    if event.get("version") == "2.0":
        # HTTP APIs decode the path before they pass it on; function URLs and the others do not.
        # Mangum decodes it always, so "100%25" would end as "100%".
        if ".lambda-url." not in (context.get("domainName") or ""):
            decoded = str(event.get("rawPath") or decoded)
        prefix = f"/{context.get('stage')}"
        staged = prefix != "/$default" and f"{decoded}/".startswith(f"{prefix}/")
        return prefix if staged else "", decoded
    # A REST API keeps the stage out of the path and in the request context's path.
    path, full = event.get("path") or "/", context.get("path") or ""
    prefix = full.removesuffix(path) if full.endswith(path) else ""
    return prefix, prefix + decoded


def _with_one_cookie_header(event: dict[str, Any], headers: list[list[bytes]]) -> list[list[bytes]]:
    # Mangum joins repeated headers by commas, and a cookie's value may contain those.
    values = {key.lower(): value for key, value in (event.get("multiValueHeaders") or {}).items()}
    cookies = values.get("cookie") or ()
    if len(cookies) < 2:  # noqa: PLR2004
        return headers
    others = [[key, value] for key, value in headers if key != b"cookie"]
    return [*others, [b"cookie", "; ".join(cookies).encode()]]


def describe(event: Any) -> str:
    """Say what an event that is no HTTP request looks like."""
    if not isinstance(event, dict):
        return f"{type(event).__name__} ({event!r:.60})"
    if not event:
        return "an empty object"
    for name, looks_like in _OTHERS.items():
        if looks_like(event):
            return name
    keys = ", ".join(f"{key:.40}" for key in sorted(map(str, event))[:LONGEST_LIST])
    return f"of no source known here (an object with the keys {keys})"


def _context(event: dict[str, Any]) -> dict[str, Any]:
    context = event.get("requestContext")
    return context if isinstance(context, dict) else {}


def _first_record(event: dict[str, Any]) -> dict[str, Any]:
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records else None
    return first if isinstance(first, dict) else {}


def _records_from(source: str) -> Callable[[dict[str, Any]], bool]:
    def looks_like(event: dict[str, Any]) -> bool:
        first = _first_record(event)
        return source in (first.get("eventSource"), first.get("EventSource"))

    return looks_like


_OTHERS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "an SQS batch": _records_from("aws:sqs"),
    "an S3 notification": _records_from("aws:s3"),
    "an SNS notification": _records_from("aws:sns"),
    "a DynamoDB stream batch": _records_from("aws:dynamodb"),
    "a Kinesis batch": _records_from("aws:kinesis"),
    "a CloudFront (Lambda@Edge) event": lambda e: "cf" in _first_record(e),
    "an API Gateway authorizer request": lambda e: "methodArn" in e or "routeArn" in e,
    "a WebSocket event of API Gateway": lambda e: "connectionId" in _context(e),
    "a VPC Lattice request": lambda e: "raw_path" in e or "serviceNetworkArn" in _context(e),
    "an EventBridge event": lambda e: "detail-type" in e,
}
