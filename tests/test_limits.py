"""What every answer carries for browsers, and what requests are turned away for their size."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sources
from conftest import Cloud, Context
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import events

Handler = Callable[[Any, Any], dict[str, Any]]

SECURITY = {
    "strict-transport-security": "max-age=63072000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

every_source = pytest.mark.parametrize("source", sources.NAMES)


async def echo_length(request: Request) -> Response:
    """Say how many bytes the body has."""
    return PlainTextResponse(str(len(await request.body())))


async def own_headers(_: Request) -> Response:
    """Answer with other security headers than the default ones."""
    return PlainTextResponse(
        "", headers={"Cache-Control": "max-age=60", "X-Frame-Options": "SAMEORIGIN"}
    )


async def nothing(_: Request) -> Response:
    """Answer without any header."""
    return Response(status_code=204)


async def broken(_: Request) -> Response:
    """Fail."""
    raise RuntimeError


APP = Starlette(
    routes=[
        Route("/", echo_length, methods=["POST"]),
        Route("/own", own_headers),
        Route("/broken", broken),
        Route("/nothing", nothing),
    ]
)


def security(answer: dict[str, Any]) -> dict[str, str]:
    """Return the security headers of an answer."""
    return {name: value for name in SECURITY for value in sources.header(answer, name)}


@pytest.mark.parametrize("name", [name for name in events.names() if "/" not in name])
def test_every_answer_of_the_application_has_security_headers(handler: Handler, name: str) -> None:
    """JSON and pages, by whatever source they were asked for, carry them all."""
    assert security(handler(events.load(name), Context())) == SECURITY


@pytest.mark.parametrize("name", events.names("invalid/"))
def test_every_refusal_has_security_headers(handler: Handler, name: str) -> None:
    """Also what never reached a route."""
    assert security(handler(events.load(name), Context())) == SECURITY


def test_a_crash_has_security_headers(make_handler: Callable[..., Handler]) -> None:
    """Also the 500 in place of an application that raised."""
    answer = make_handler(APP)(sources.request("http-api", "/broken"), Context())

    assert answer["statusCode"] == 500
    assert security(answer) == SECURITY


def test_a_route_s_own_headers_stay(make_handler: Callable[..., Handler]) -> None:
    """What a route says about caching or frames is not said twice, nor overruled."""
    answer = make_handler(APP)(sources.request("http-api", "/own"), Context())

    assert security(answer) == SECURITY | {
        "cache-control": "max-age=60",
        "x-frame-options": "SAMEORIGIN",
    }


@every_source
def test_an_answer_without_headers_has_security_headers_where_its_source_looks(
    make_handler: Callable[..., Handler], source: str
) -> None:
    """A load balancer that sent lists of headers takes nothing but lists."""
    answer = make_handler(APP)(sources.request(source, "/nothing"), Context())

    assert security(answer) == SECURITY
    assert ("headers" in answer) is (source != "alb-multi-value")


@every_source
def test_a_body_that_is_too_long_is_a_413(
    make_handler: Callable[..., Handler], source: str
) -> None:
    """The client is told how long it is and how long it may be; the route does not see it."""
    handler = make_handler(APP, max_body=10)

    answer = handler(sources.request(source, "/", method="POST", body=b"elevenbytes"), Context())

    assert answer["statusCode"] == 413
    assert json.loads(sources.body(answer)) == {"detail": "the body has 11 bytes, of 10 allowed"}


def test_a_body_as_long_as_is_allowed_is_taken(make_handler: Callable[..., Handler]) -> None:
    """The limit itself is no more than the limit."""
    handler = make_handler(APP, max_body=10)

    answer = handler(sources.request("http-api", "/", method="POST", body=b"ten bytes."), Context())

    assert (answer["statusCode"], answer["body"]) == (200, "10")


def test_a_body_that_is_too_long_is_recorded(
    make_handler: Callable[..., Handler], cloud: Cloud, context: Context
) -> None:
    """The log has the refusal under the request id."""
    handler = make_handler(APP, max_body=10)

    handler(sources.request("http-api", "/", method="POST", body=b"elevenbytes"), context)

    assert cloud.messages(context.aws_request_id) == ["413: the body has 11 bytes, of 10 allowed"]
