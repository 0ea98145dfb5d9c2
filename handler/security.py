"""Response headers that tell browsers to take fewer chances. A route that sets one has its own."""

from __future__ import annotations

from typing import Any

SECURITY_HEADERS = {
    # Two years, as HSTS preload lists ask for. API Gateway has no plain HTTP to fall back to.
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Only what does not keep /docs from its scripts; a page of your own knows more.
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    # An API's answer is its caller's.
    "cache-control": "no-store",
}
"""The choice of the OWASP REST Security Cheat Sheet, but for what is about pages."""


def secure(answer: dict[str, Any]) -> dict[str, Any]:
    """Add what is missing to an answer in the format of whatever source; header names are lower
    case there.
    """
    headers, repeated = answer.get("headers"), answer.get("multiValueHeaders")
    if headers is None:
        # A load balancer's that takes these alone.
        missing_too = {key: [value] for key, value in SECURITY_HEADERS.items()}
        answer["multiValueHeaders"] = {**missing_too, **(repeated or {})}
    elif repeated:
        # A REST API's: what is repeated is only there.
        missing = {key: SECURITY_HEADERS[key] for key in SECURITY_HEADERS.keys() - repeated.keys()}
        answer["headers"] = {**missing, **headers}
    else:
        answer["headers"] = {**SECURITY_HEADERS, **headers}
    return answer
