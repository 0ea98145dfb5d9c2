"""The events that are measured: those of events/, with another path or query."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import events


def health(path: str = "/health") -> dict[str, Any]:
    """Return a request without a query."""
    event: dict[str, Any] = events.load("http-api-health")
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    return event


def work(**query: float) -> dict[str, Any]:
    """Return a request for records and tasks (see ``peers.application.work``)."""
    return health("/work") | {"rawQueryString": urlencode(query)}


def payload(event: dict[str, Any]) -> bytes:
    """Return an event as Lambda sends it."""
    return json.dumps(event).encode()
