"""HTTP requests as API Gateway hands them to a function, and a function's results as answers.

HTTP API, payload format 2.0 ("Create AWS Lambda proxy integrations for HTTP APIs").
"""

import base64
import json
import time
import uuid
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, unquote

from local.http_connection import Request, Response

_ONLY_IF_ANY = ("cookies", "queryStringParameters")

INTERNAL_SERVER_ERROR = "Internal Server Error"

# API Gateway gives bodies of these types as text, and all others (forms too) in base64.
_TEXT_TYPES = ("application/json", "application/javascript", "application/xml")

# The server's own business, whatever a function says.
_NOT_PASSED_ON = ("connection", "content-length", "transfer-encoding")

Json = dict[str, Any]


def event_for(request: Request) -> Json:
    """Make the event for `request`."""
    path, _, query = request.target.partition("?")
    headers = _joined((k, v) for k, v in request.headers if k != "cookie")
    cookies = [c for k, v in request.headers if k == "cookie" for c in v.split("; ")]
    parameters = _joined(parse_qsl(query, keep_blank_values=True))
    # An HTTP API decodes the path that it puts into rawPath (a REST API and a function URL do
    # not): https://github.com/aws/aws-lambda-dotnet/pull/1901 compared it with the service.
    path = unquote(path)
    event: Json = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "cookies": cookies,
        "headers": headers | _added_headers(request),
        "queryStringParameters": parameters,
        "requestContext": _context(request, path, headers),
        **_body(request),
    }
    return {key: value for key, value in event.items() if value or key not in _ONLY_IF_ANY}


def _joined(pairs: Any) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _added_headers(request: Request) -> dict[str, str]:
    return {
        "x-forwarded-for": request.client,
        "x-forwarded-port": (request.header("host") or "").rpartition(":")[2] or "80",
        "x-forwarded-proto": "http",
    }


def _context(request: Request, path: str, headers: dict[str, str]) -> Json:
    now = time.time()
    domain = headers.get("host", "127.0.0.1").rpartition(":")[0] or headers.get("host", "")
    return {
        "accountId": "123456789012",
        "apiId": "local",
        "domainName": domain,
        "domainPrefix": domain.partition(".")[0],
        "http": {
            "method": request.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": request.client,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": str(uuid.uuid4()),
        "routeKey": "$default",
        "stage": "$default",
        "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
        "timeEpoch": int(now * 1000),
    }


def _body(request: Request) -> Json:
    if not request.body:
        return {"isBase64Encoded": False}
    message = Message()
    message["content-type"] = request.header("content-type") or "application/octet-stream"
    content_type = message.get_content_type()
    if content_type.startswith("text/") or content_type in _TEXT_TYPES:
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def response_for(payload: bytes) -> Response:
    """Make the answer that API Gateway makes of a function's result.

    A result without `statusCode` is the body itself; one that makes no sense is a 500.
    """
    try:
        result = json.loads(payload)
        if not (isinstance(result, dict) and "statusCode" in result):
            return _inferred(result)
        body = _or_empty(result.get("body"), "")
        return Response(
            int(result["statusCode"]),
            base64.b64decode(body, validate=True)
            if result.get("isBase64Encoded")
            else body.encode(),
            _headers(result),
        )
    except (ValueError, TypeError, AttributeError):
        return message(500, INTERNAL_SERVER_ERROR)


def _inferred(result: object) -> Response:
    text = result if isinstance(result, str) else json.dumps(result)
    return Response(200, text.encode(), [("content-type", "application/json")])


def _headers(result: Json) -> list[tuple[str, str]]:
    given = {k.lower(): _text(v) for k, v in _or_empty(result.get("headers"), {}).items()}
    headers = {"content-type": "text/plain;charset=UTF-8"} | given
    cookies = [("set-cookie", str(cookie)) for cookie in _or_empty(result.get("cookies"), [])]
    return [*((k, v) for k, v in headers.items() if k not in _NOT_PASSED_ON), *cookies]


def _or_empty(value: Any, empty: Any) -> Any:
    return empty if value is None else value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def message(status: int, text: str) -> Response:
    """Make an answer of API Gateway's own."""
    body = json.dumps({"message": text}, separators=(",", ":")).encode()
    return Response(status, body, [("content-type", "application/json")])
