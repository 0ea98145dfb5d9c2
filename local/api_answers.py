"""Answers that the Runtime API and the Extensions API have in common."""

import json
from collections.abc import Iterable
from typing import Any

from local.http_connection import Request, Response


def json_in(request: Request) -> dict[str, Any]:
    """Return the JSON object in the body, or an empty one."""
    try:
        parsed = json.loads(request.body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def answer(value: object, headers: Iterable[tuple[str, str]] = (), status: int = 200) -> Response:
    """Make an answer of anything that JSON can hold."""
    content_type = ("Content-Type", "application/json")
    return Response(status, json.dumps(value).encode(), [content_type, *headers])


def accepted() -> Response:
    """Make the answer to a result or an error that was taken note of."""
    return answer({"status": "OK"}, status=202)


def refused(error_type: str, message: str, status: int = 403) -> Response:
    """Make the answer to a request that is not allowed (now)."""
    return answer({"errorMessage": message, "errorType": error_type}, status=status)


def not_found() -> Response:
    """Make the answer for a path that neither API has."""
    return Response(404, b"404 page not found\n", [("Content-Type", "text/plain; charset=utf-8")])
