"""Requests as the event of each HTTP source, and answers read as the source reads them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

import events

NAMES = ("http-api", "rest-api", "alb", "alb-multi-value", "function-url")

Pairs = Sequence[tuple[str, str]]


def request(
    source: str,
    path: str,
    *,
    method: str = "GET",
    query: Pairs = (),
    headers: Pairs = (),
    body: bytes | None = None,
) -> Any:
    """Return the event of a request; ``path`` is percent-encoded, as the client sends it."""
    event = events.load(f"{source}-health")
    if body is not None:
        event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    if "version" in event:
        # An HTTP API decodes the path; a function URL does not.
        event["rawPath"] = unquote(path) if source == "http-api" else path
        event["requestContext"]["http"] |= {"method": method, "path": event["rawPath"]}
        event["rawQueryString"] = "&".join(f"{quote(key)}={quote(value)}" for key, value in query)
        _single_headers(event, headers)
    else:
        event |= {"path": path, "httpMethod": method}
        _queries(event, source, query)
        _headers(event, headers)
    if source == "rest-api":
        event["requestContext"] |= {"path": f"/prod{path}", "httpMethod": method}
    return event


def _single_headers(event: Any, headers: Pairs) -> None:
    for key, value in headers:
        if key == "cookie":
            event["cookies"] = [*event.get("cookies", ()), *value.split("; ")]
        else:
            earlier = event["headers"].get(key)
            event["headers"][key] = f"{earlier},{value}" if earlier else value


def _queries(event: Any, source: str, query: Pairs) -> None:
    if source.startswith("alb"):  # a load balancer passes the query as it came
        query = [(quote(key), quote(value)) for key, value in query]
    if source != "alb-multi-value":
        event["queryStringParameters"] = dict(query)
    if source != "alb":
        event["multiValueQueryStringParameters"] = _by_key(query)


def _headers(event: Any, headers: Pairs) -> None:
    if "headers" in event:
        event["headers"] |= dict(headers)
    if "multiValueHeaders" in event:
        event["multiValueHeaders"] |= _by_key(headers)


def _by_key(pairs: Pairs) -> dict[str, list[str]]:
    keys = dict.fromkeys(key for key, _ in pairs)
    return {key: [v for k, v in pairs if k == key] for key in keys}


def body(answer: Any) -> bytes:
    """Return the body that the client gets."""
    content = answer.get("body", "")
    return base64.b64decode(content) if answer["isBase64Encoded"] else content.encode()


def headers(answer: Any) -> list[tuple[str, str]]:
    """Return the headers that the client gets, in alphabetical order of their names."""
    pairs = [(key.lower(), value) for key, value in (answer.get("headers") or {}).items()]
    for key, values in (answer.get("multiValueHeaders") or {}).items():
        pairs += [(key.lower(), value) for value in values]
    pairs += [("set-cookie", value) for value in answer.get("cookies", ())]
    return sorted(pairs, key=lambda pair: pair[0])


def header(answer: Any, name: str) -> list[str]:
    """Return the values of one header of an answer."""
    return [value for key, value in headers(answer) if key == name]
