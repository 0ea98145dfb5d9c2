"""Response headers that tell browsers to take fewer chances. A route that sets one has its own."""

from __future__ import annotations

from collections.abc import Iterable

SECURITY_HEADERS = (
    # Two years, as HSTS preload lists ask for. API Gateway has no plain HTTP to fall back to.
    (b"strict-transport-security", b"max-age=63072000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Only what does not keep /docs from its scripts; a page of your own knows more.
    (b"content-security-policy", b"frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    # An API's answer is its caller's.
    (b"cache-control", b"no-store"),
)
"""The choice of the OWASP REST Security Cheat Sheet, but for what is about pages."""


def missing(headers: Iterable[list[bytes]]) -> Iterable[list[bytes]]:
    """Return those of the headers that a response does not have itself."""
    there = {key.lower() for key, _ in headers}
    return [[key, value] for key, value in SECURITY_HEADERS if key not in there]
