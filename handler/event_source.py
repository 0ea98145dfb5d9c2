"""Tells HTTP events from all others, and turns them into ASGI and their answers back, by Mangum."""

from __future__ import annotations

import base64
import json
from typing import Any

from mangum import Mangum
from mangum.types import ASGI, LambdaContext, LambdaHandler, Response, Scope

from handler.errors import BadRequest, UnsupportedEvent

TAKEN = "API Gateway HTTP API (payload 2.0) and REST API (payload 1.0), function URL, ALB"
LONGEST_LIST = 8


class EventSources(Mangum):
    """Mangum's knowledge of the event sources, without its HTTP cycle and its lifespan."""

    def __init__(self, app: ASGI) -> None:
        super().__init__(app, lifespan="off")

    def _setup_event_loop(self) -> None:
        """Leave the event loop to the execution environment."""


class HttpEvent:
    """An event that is an HTTP request.

    Raises UnsupportedEvent when it is none. ``scope`` and ``body`` raise BadRequest when it is one
    that cannot be read.
    """

    def __init__(self, sources: EventSources, event: Any, context: LambdaContext) -> None:
        if not _is_http(event):
            raise UnsupportedEvent(f"this handler takes {TAKEN}; this event is {describe(event)}")
        self._event: dict[str, Any] = event
        self._source: LambdaHandler = sources.infer(event, context)

    @property
    def scope(self) -> Scope:
        """The ASGI scope of the request."""
        try:
            scope = self._source.scope
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadRequest(f"the request cannot be read: {error}") from error
        # Version 2.4 lets Starlette stream without a task that listens for a disconnect.
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        path = scope["path"]
        scope["path"] = path = _path(self._event, path)
        scope["root_path"] = _stage_prefix(self._event, path)
        return scope

    @property
    def body(self) -> bytes:
        """The request's body."""
        body = self._event.get("body") or ""
        try:
            if self._event.get("isBase64Encoded"):
                return base64.b64decode(body, validate=True)
            return body.encode() if isinstance(body, str) else bytes(body)
        except (ValueError, TypeError) as error:
            raise BadRequest(f"the body is not what it claims to be: {error}") from error

    def answer(self, response: Response) -> dict[str, Any]:
        """Format a response as the event's source wants it."""
        return self._source(response)

    def refuse(self, reason: str) -> dict[str, Any]:
        """Return a 400 that each of the sources takes, of a request that Mangum cannot read."""
        headers = {"content-type": "application/json"}
        return {
            "statusCode": 400,
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


def _path(event: dict[str, Any], path: str) -> str:
    # HTTP APIs decode the path before they pass it on; function URLs and the others do not.
    # Mangum decodes it always, so "100%25" would end as "100%".
    context = event["requestContext"]
    if event.get("version") == "2.0" and ".lambda-url." not in context.get("domainName", ""):
        return str(event.get("rawPath") or path)
    return path


def _stage_prefix(event: dict[str, Any], path: str) -> str:
    """Return what the client has to put before the application's paths: "" or "/stage"."""
    context = event["requestContext"]
    if event.get("version") == "2.0":
        prefix = f"/{context.get('stage')}"
        return prefix if path == prefix or path.startswith(f"{prefix}/") else ""
    # A REST API keeps the stage out of the path and in the request context's path.
    full = context.get("path") or ""
    return full.removesuffix(event["path"]) if full.endswith(event["path"]) else ""


def describe(event: Any) -> str:
    """Say what an event that is no HTTP request looks like."""
    if not isinstance(event, dict):
        return f"{type(event).__name__} ({event!r:.60})"
    if not event:
        return "an empty object"
    for name, looks_like in _OTHERS.items():
        if looks_like(event):
            return name
    keys = ", ".join(sorted(map(str, event))[:LONGEST_LIST])
    return f"of no source known here (an object with the keys {keys})"


def _records_from(source: str) -> Any:
    def looks_like(event: dict[str, Any]) -> bool:
        records = event.get("Records")
        first = records[0] if isinstance(records, list) and records else None
        return isinstance(first, dict) and source in (
            first.get("eventSource"),
            first.get("EventSource"),
        )

    return looks_like


_OTHERS: dict[str, Any] = {
    "an SQS batch": _records_from("aws:sqs"),
    "an S3 notification": _records_from("aws:s3"),
    "an SNS notification": _records_from("aws:sns"),
    "a DynamoDB stream batch": _records_from("aws:dynamodb"),
    "a Kinesis batch": _records_from("aws:kinesis"),
    "a CloudFront (Lambda@Edge) event": lambda e: "cf" in (e.get("Records") or [()])[0],
    "an API Gateway authorizer request": lambda e: "methodArn" in e or "routeArn" in e,
    "a WebSocket event of API Gateway": lambda e: "connectionId" in (e.get("requestContext") or ()),
    "a VPC Lattice request": lambda e: (
        "raw_path" in e or "serviceNetworkArn" in (e.get("requestContext") or ())
    ),
    "an EventBridge event": lambda e: "detail-type" in e,
}
