"""Every event of an HTTP source is a request to the application; its answer suits the source."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sources
from conftest import Cloud, Context
from expectations import SERVED, TURNED_AWAY, assert_served, assert_turned_away, recorded
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

import events
from app.log import logger

Handler = Callable[[Any, Any], dict[str, Any]]
MakeHandler = Callable[..., Handler]


@pytest.mark.parametrize("name", SERVED)
def test_an_event_is_answered_with_200(handler: Handler, name: str) -> None:
    """Each event at the top of events/ gets the answer of its route."""
    answer = handler(events.load(name), Context())

    assert_served(name, answer)


@pytest.mark.parametrize("name", [name for name in SERVED if recorded(name)])
def test_the_records_of_an_event_are_one_object(handler: Handler, cloud: Cloud, name: str) -> None:
    """The records of the request, in order and with its request id, are in one object."""
    context = Context()

    handler(events.load(name), context)

    assert len(cloud.objects(context.aws_request_id)) == 1
    assert cloud.messages(context.aws_request_id) == recorded(name)
    ids = {record["request_id"] for record in cloud.records(context.aws_request_id)}
    assert ids == {context.aws_request_id}


@pytest.mark.parametrize("name", [name for name in SERVED if not recorded(name)])
def test_an_event_that_logs_nothing_makes_no_object(
    handler: Handler, cloud: Cloud, name: str
) -> None:
    """Without a record, nothing is put into the bucket."""
    context = Context()

    handler(events.load(name), context)

    assert cloud.objects(context.aws_request_id) == []


@pytest.mark.parametrize("name", TURNED_AWAY)
def test_a_bad_request_is_answered_with_4xx(handler: Handler, name: str) -> None:
    """Each event of events/invalid/ gets a status that says what is wrong, and a JSON detail."""
    answer = handler(events.load(name), Context())

    assert_turned_away(name, answer)


@pytest.mark.parametrize("name", [n for n in TURNED_AWAY if n.endswith("base64-body")])
def test_a_body_that_is_not_its_base64_is_recorded(
    handler: Handler, cloud: Cloud, name: str
) -> None:
    """A body that cannot be read never reaches the application; one record tells the reason."""
    context = Context()

    answer = handler(events.load(name), context)

    assert "body" in json.loads(answer["body"])["detail"]
    (record,) = cloud.records(context.aws_request_id)
    assert record["level"] == "WARNING"
    assert record["message"].startswith("400: the body is not what it claims to be")


@pytest.mark.parametrize("name", [n for n in TURNED_AWAY if not n.endswith("base64-body")])
def test_a_refusal_of_the_application_logs_nothing(
    handler: Handler, cloud: Cloud, name: str
) -> None:
    """A request that no route takes adds no task, so there is no object."""
    context = Context()

    handler(events.load(name), context)

    assert cloud.objects(context.aws_request_id) == []


async def echo(request: Request) -> JSONResponse:
    """Answer with what the application sees of the request."""
    return JSONResponse(
        {
            "method": request.method,
            "path": request.path_params["path"],
            "query": request.query_params.multi_items(),
            "headers": request.headers.items(),
            "cookies": request.cookies,
            "body": base64.b64encode(await request.body()).decode(),
            "url": str(request.url),
        }
    )


ECHO = Starlette(routes=[Route("/{path:path}", echo, methods=["GET", "POST"])])


def seen(handler: Handler, event: Any) -> Any:
    """Return what the echo application saw of an event."""
    answer = handler(event, Context())
    assert answer["statusCode"] == 200, answer
    return json.loads(sources.body(answer))


def every_source(function: Any) -> Any:
    """Run a test with each HTTP source."""
    return pytest.mark.parametrize("source", sources.NAMES)(function)


def every_multi_value_source(function: Any) -> Any:
    """Run a test with each source but the load balancer that keeps the last of repeated values."""
    names = [name for name in sources.NAMES if name != "alb"]
    return pytest.mark.parametrize("source", names)(function)


def respond_with(response: Response) -> Starlette:
    """Return an application that answers GET / with a response."""

    async def endpoint(_request: Request) -> Response:
        return response

    return Starlette(routes=[Route("/", endpoint)])


@every_multi_value_source
def test_repeated_query_keys_arrive_in_order(make_handler: MakeHandler, source: str) -> None:
    """Each value of a repeated query key reaches the application, decoded, in order."""
    query = [("tag", "one & two"), ("tag", "grüße"), ("tag", "a+b")]

    request = seen(make_handler(ECHO), sources.request(source, "/", query=query))

    assert request["query"] == [list(pair) for pair in query]


@every_source
def test_an_encoded_query_is_decoded_once(make_handler: MakeHandler, source: str) -> None:
    """A percent sign in a query value is not taken for an escape a second time."""
    event = sources.request(source, "/", query=[("q", "100%25")])

    assert seen(make_handler(ECHO), event)["query"] == [["q", "100%25"]]


@every_multi_value_source
def test_repeated_request_headers_arrive(make_handler: MakeHandler, source: str) -> None:
    """Every value of a repeated request header reaches the application."""
    event = sources.request(source, "/", headers=[("x-tag", "one"), ("x-tag", "two")])

    values = [value for key, value in seen(make_handler(ECHO), event)["headers"] if key == "x-tag"]

    assert ",".join(values).replace(" ", "") == "one,two"


@every_source
def test_cookies_arrive(make_handler: MakeHandler, source: str) -> None:
    """The cookies of one Cookie header reach the application."""
    event = sources.request(source, "/", headers=[("cookie", "session=9f2c4e; theme=dark")])

    cookies = seen(make_handler(ECHO), event)["cookies"]

    assert cookies == {"session": "9f2c4e", "theme": "dark"}


@every_multi_value_source
def test_cookies_of_repeated_headers_arrive(make_handler: MakeHandler, source: str) -> None:
    """HTTP/2 clients may send each cookie in a header of its own; all of them arrive."""
    headers = [("cookie", "session=9f2c4e"), ("cookie", "theme=dark")]
    event = sources.request(source, "/", headers=headers)

    cookies = seen(make_handler(ECHO), event)["cookies"]

    assert cookies == {"session": "9f2c4e", "theme": "dark"}


@every_source
def test_a_binary_body_arrives(make_handler: MakeHandler, source: str) -> None:
    """A body that the source encoded in base64 reaches the application as its bytes."""
    body = bytes(range(256))

    request = seen(make_handler(ECHO), sources.request(source, "/", method="POST", body=body))

    assert base64.b64decode(request["body"]) == body


@every_source
def test_a_text_body_arrives_in_utf_8(make_handler: MakeHandler, source: str) -> None:
    """A body that the source passes as text reaches the application in UTF-8."""
    event = sources.request(source, "/", method="POST")
    event |= {"body": "Grüße 🌸", "isBase64Encoded": False}

    assert base64.b64decode(seen(make_handler(ECHO), event)["body"]).decode() == "Grüße 🌸"


@every_source
@pytest.mark.parametrize(
    ("path", "decoded"),
    [
        ("/a/100%25", "a/100%"),
        ("/a/100%2525", "a/100%25"),
        ("/gr%C3%BC%C3%9Fe/%F0%9F%8C%B8", "grüße/🌸"),
        ("/a%20b+c", "a b+c"),
        ("/a%3Fb%23c", "a?b#c"),
        ("/%E4%BD", "\ufffd"),
        ("/100%", "100%"),
    ],
)
def test_a_path_is_decoded_exactly_once(
    make_handler: MakeHandler, source: str, path: str, decoded: str
) -> None:
    """An escape in the path is decoded once, whether the source did it or left it to us."""
    assert seen(make_handler(ECHO), sources.request(source, path))["path"] == decoded


@every_source
def test_a_repeated_response_header_leaves_whole(make_handler: MakeHandler, source: str) -> None:
    """Both Set-Cookie headers of a response are in the answer, as its source takes them."""
    response = PlainTextResponse("ok")
    response.set_cookie("session", "9f2c4e")
    response.set_cookie("theme", "dark")

    answer = make_handler(respond_with(response))(sources.request(source, "/"), Context())

    assert sorted(value.split(";")[0] for value in sources.header(answer, "set-cookie")) == [
        "session=9f2c4e",
        "theme=dark",
    ]


@every_source
def test_a_binary_response_leaves_as_base64(make_handler: MakeHandler, source: str) -> None:
    """Bytes that are no text are marked as base64, which every source undoes."""
    content = bytes(range(256))
    app = respond_with(Response(content, media_type="image/png"))

    answer = make_handler(app)(sources.request(source, "/"), Context())

    assert answer["isBase64Encoded"] is True
    assert sources.body(answer) == content


@every_source
def test_text_that_is_no_utf_8_leaves_as_base64(make_handler: MakeHandler, source: str) -> None:
    """A text response in another charset reaches the client byte by byte."""
    content = "Grüße".encode("latin-1")
    app = respond_with(Response(content, media_type="text/plain; charset=latin-1"))

    answer = make_handler(app)(sources.request(source, "/"), Context())

    assert sources.body(answer) == content


@every_source
def test_a_header_value_outside_ascii_leaves_as_text(
    make_handler: MakeHandler, source: str
) -> None:
    """A latin-1 header value, which is how ASGI has them, is text in the answer's JSON."""
    app = respond_with(PlainTextResponse("ok", headers={"x-name": "Jörg"}))

    answer = make_handler(app)(sources.request(source, "/"), Context())

    assert sources.header(answer, "x-name") == ["Jörg"]
    json.dumps(answer)


@every_source
def test_a_streaming_response_leaves_whole(make_handler: MakeHandler, source: str) -> None:
    """The chunks of a stream are put together."""

    def chunks() -> Iterator[bytes]:
        yield from (b"one,", b"", b"two,", b"three")

    app = respond_with(StreamingResponse(chunks(), media_type="text/csv"))

    answer = make_handler(app)(sources.request(source, "/"), Context())

    assert sources.body(answer) == b"one,two,three"


@every_source
def test_a_file_response_leaves_whole(
    make_handler: MakeHandler, source: str, tmp_path: Path
) -> None:
    """A file, several chunks long, is the body of the answer."""
    file = tmp_path / "numbers.bin"
    file.write_bytes(bytes(range(256)) * 1000)

    answer = make_handler(respond_with(FileResponse(file)))(sources.request(source, "/"), Context())

    assert sources.body(answer) == file.read_bytes()
    assert sources.header(answer, "content-length") == ["256000"]


@every_source
def test_head_is_answered_like_get(make_handler: MakeHandler, source: str, tmp_path: Path) -> None:
    """HEAD on a file gives its headers and no body."""
    file = tmp_path / "numbers.bin"
    file.write_bytes(b"12345")

    answer = make_handler(respond_with(FileResponse(file)))(
        sources.request(source, "/", method="HEAD"), Context()
    )

    assert (answer["statusCode"], sources.body(answer)) == (200, b"")
    assert sources.header(answer, "content-length") == ["5"]


@every_source
def test_a_204_has_no_body(make_handler: MakeHandler, source: str) -> None:
    """No content is an answer with an empty body."""
    answer = make_handler(respond_with(Response(status_code=204)))(
        sources.request(source, "/"), Context()
    )

    assert (answer["statusCode"], sources.body(answer)) == (204, b"")


@every_source
def test_a_redirect_keeps_its_location(make_handler: MakeHandler, source: str) -> None:
    """The location of a redirect leaves as the application gave it, percent-encoded."""
    app = respond_with(RedirectResponse("https://example.com/grüße?a=1&b=2"))

    answer = make_handler(app)(sources.request(source, "/"), Context())

    assert answer["statusCode"] == 307
    assert sources.header(answer, "location") == ["https://example.com/gr%C3%BC%C3%9Fe?a=1&b=2"]


STAGED = ["http-api-stage", "rest-api"]


@pytest.mark.parametrize("source", STAGED)
def test_the_documentation_refers_to_the_stage(handler: Handler, source: str) -> None:
    """The page of /docs loads /prod/openapi.json when the API's stage is in the path."""
    answer = handler(events.load(f"{source}-docs"), Context())

    assert b"'/prod/openapi.json'" in sources.body(answer)


@pytest.mark.parametrize("source", STAGED)
def test_the_description_names_the_stage_as_its_server(handler: Handler, source: str) -> None:
    """A client made from /openapi.json sends its requests below the stage."""
    answer = handler(events.load(f"{source}-openapi"), Context())

    assert json.loads(sources.body(answer))["servers"] == [{"url": "/prod"}]


def test_without_a_stage_there_is_no_server(handler: Handler) -> None:
    """A request without a stage in its path leaves /openapi.json without servers."""
    answer = handler(events.load("http-api-openapi"), Context())

    assert "servers" not in json.loads(sources.body(answer))


def staged(source: str, path: str) -> Any:
    """Return the event of a request below the stage prod."""
    if source == "rest-api":
        return sources.request(source, path)
    event = sources.request("http-api", f"/prod{path}")
    event["requestContext"]["stage"] = "prod"
    return event


@pytest.mark.parametrize("source", STAGED)
def test_a_redirect_to_a_slash_keeps_the_stage(make_handler: MakeHandler, source: str) -> None:
    """Starlette's redirect from /items to /items/ stays below the stage."""
    app = Starlette(routes=[Route("/items/", echo)])

    answer = make_handler(app)(staged(source, "/items"), Context())

    (location,) = sources.header(answer, "location")
    assert location.endswith(".amazonaws.com/prod/items/")


@pytest.mark.parametrize("source", STAGED)
def test_a_route_may_be_called_like_the_stage(make_handler: MakeHandler, source: str) -> None:
    """Only one prefix is taken off: a route /prod/items below the stage prod is found."""
    assert seen(make_handler(ECHO), staged(source, "/prod/items"))["path"] == "prod/items"


def test_the_default_stage_is_no_prefix(make_handler: MakeHandler) -> None:
    """$default is a stage's name and never a part of its paths: a route may be called so."""
    event = sources.request("http-api", "/%24default/items")

    assert seen(make_handler(ECHO), event)["path"] == "$default/items"


@pytest.mark.parametrize("source", STAGED)
def test_the_url_of_a_request_is_the_client_s(make_handler: MakeHandler, source: str) -> None:
    """request.url is what the client asked for, with the stage."""
    url = seen(make_handler(ECHO), staged(source, "/items"))["url"]

    assert url == "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/prod/items"


def raising(error: BaseException, *, sync: bool = False, middleware: bool = False) -> Starlette:
    """Return an application whose / raises and whose /health does not."""

    async def asynchronous(_request: Request) -> Response:
        raise error

    def synchronous(_request: Request) -> Response:
        raise error

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def dispatch(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    wrapped = [Middleware(BaseHTTPMiddleware, dispatch=dispatch)] if middleware else []
    return Starlette(
        routes=[
            Route("/", synchronous if sync else asynchronous),
            Route("/health", health),
        ],
        middleware=wrapped,
    )


@every_source
def test_an_endpoint_that_raises_is_a_500(make_handler: MakeHandler, source: str) -> None:
    """An exception of the application is its own 500, not an error of the function."""
    handler = make_handler(raising(ValueError("bad value")))

    answer = handler(sources.request(source, "/"), Context())

    assert (answer["statusCode"], sources.body(answer)) == (500, b"Internal Server Error")


def test_an_exception_is_recorded_with_its_traceback(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """The record of an exception has its traceback, its name and the request id."""
    handler = make_handler(raising(ValueError("bad value")))

    handler(sources.request("http-api", "/"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["request_id"] == context.aws_request_id
    assert (record["level"], record["exception_name"]) == ("ERROR", "ValueError")
    assert "raise error\nValueError: bad value" in record["exception"]


@pytest.mark.parametrize("middleware", [False, True], ids=["bare", "middleware"])
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_endpoint_that_exits_does_not_end_the_environment(
    make_handler: MakeHandler, error: type[BaseException], *, sync: bool, middleware: bool
) -> None:
    """SystemExit and KeyboardInterrupt from a route are a 500, and the next request is served."""
    handler = make_handler(raising(error(), sync=sync, middleware=middleware))

    first = handler(sources.request("http-api", "/"), Context())
    second = handler(sources.request("http-api", "/health"), Context())

    assert (first["statusCode"], second["statusCode"]) == (500, 200)


def test_an_endpoint_that_exits_is_recorded(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A SystemExit of a route is in the log with its traceback."""
    make_handler(raising(SystemExit(3)))(sources.request("http-api", "/"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["exception"].endswith("SystemExit: 3")


async def silent(_scope: Any, _receive: Any, _send: Any) -> None:
    """Send nothing."""


async def unfinished(_scope: Any, _receive: Any, send: Any) -> None:
    """Start a response and never end it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def unfinished_body(_scope: Any, _receive: Any, send: Any) -> None:
    """Promise more of the body than is sent."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


@pytest.mark.parametrize("app", [silent, unfinished, unfinished_body])
def test_an_application_without_a_whole_response_is_a_500(
    make_handler: MakeHandler, cloud: Cloud, context: Context, app: Any
) -> None:
    """An application that ends before its response does is answered for, and recorded."""
    answer = make_handler(app)(sources.request("http-api", "/gone"), context)

    assert answer["statusCode"] == 500
    (message,) = cloud.messages(context.aws_request_id)
    assert message == "the application ended without a whole response: GET /gone"


async def twice(scope: Any, receive: Any, send: Any) -> None:
    """Send two responses."""
    if scope["type"] == "http":
        await PlainTextResponse("first")(scope, receive, send)
        await PlainTextResponse("second")(scope, receive, send)


def test_a_second_response_is_recorded_and_not_sent(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """The first response stays as it was sent; the second one is the application's error."""
    answer = make_handler(twice)(sources.request("http-api", "/"), context)

    assert (answer["statusCode"], answer["body"]) == (200, "first")
    (record,) = cloud.records(context.aws_request_id)
    assert record["exception_name"] == "UnexpectedMessage"


def test_code_may_call_asyncio_run_between_invocations(make_handler: MakeHandler) -> None:
    """asyncio.run() on the main thread, which leaves it without a loop, does no harm."""
    handler = make_handler(ECHO)
    event = sources.request("http-api", "/")

    seen(handler, event)
    asyncio.run(asyncio.sleep(0))

    assert seen(handler, event)["method"] == "GET"


def test_a_sync_endpoint_may_call_asyncio_run(make_handler: MakeHandler) -> None:
    """asyncio.run() in a plain def endpoint works, twice."""
    app = FastAPI()

    @app.get("/")
    def endpoint() -> int:
        return asyncio.run(asyncio.sleep(0, 7))

    handler = make_handler(app)
    answers = [handler(sources.request("http-api", "/"), Context()) for _ in range(2)]

    assert [answer["body"] for answer in answers] == ["7", "7"]


@pytest.mark.parametrize("source", ["alb", "alb-multi-value"])
@pytest.mark.parametrize("host", ["a:b:c", "x:y", "x:", ":", "", "[::1]:80", "x:99999999", "ü"])
def test_a_hostile_host_is_no_error_of_the_function(
    make_handler: MakeHandler, source: str, host: str
) -> None:
    """A Host header that a load balancer lets through is served or a 400."""
    answer = make_handler(ECHO)(sources.request(source, "/", headers=[("host", host)]), Context())

    assert answer["statusCode"] in {200, 400}


OPTIONAL = [
    "headers",
    "multiValueHeaders",
    "queryStringParameters",
    "multiValueQueryStringParameters",
    "rawPath",
    "rawQueryString",
    "body",
    "isBase64Encoded",
]


@every_source
@pytest.mark.parametrize("key", OPTIONAL)
def test_an_event_without_a_key_is_no_error_of_the_function(
    make_handler: MakeHandler, source: str, key: str
) -> None:
    """What an HTTP event lacks makes it a 400 at worst."""
    event = sources.request(source, "/")
    event.pop(key, None)

    assert make_handler(ECHO)(event, Context())["statusCode"] in {200, 400}


@every_source
@pytest.mark.parametrize("key", [*OPTIONAL, "path"])
def test_an_event_with_null_for_a_key_is_no_error_of_the_function(
    make_handler: MakeHandler, source: str, key: str
) -> None:
    """What an HTTP event has as null makes it a 400 at worst."""
    event = sources.request(source, "/") | {key: None}

    assert make_handler(ECHO)(event, Context())["statusCode"] in {200, 400}


@every_source
def test_a_context_without_domain_or_stage_is_served(
    make_handler: MakeHandler, source: str
) -> None:
    """What a hand-written test event leaves out of its request context is not missed."""
    event = sources.request(source, "/")
    for key in ("domainName", "stage", "path"):
        event["requestContext"][key] = None

    assert make_handler(ECHO)(event, Context())["statusCode"] == 200


def test_an_unreadable_request_is_recorded(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A request that is refused before the application saw it leaves one record."""
    event = sources.request("alb", "/", headers=[("host", "a:b:c")])

    make_handler(ECHO)(event, context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["message"].startswith("400: the request cannot be read")


def test_a_request_sees_its_event_and_context(make_handler: MakeHandler, context: Context) -> None:
    """The scope carries Lambda's event and context for applications that need them."""

    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(
            f"{request.scope['aws.event']['version']} {request.scope['aws.context'].aws_request_id}"
        )

    handler = make_handler(Starlette(routes=[Route("/", endpoint)]))

    answer = handler(sources.request("http-api", "/"), context)

    assert answer["body"] == f"2.0 {context.aws_request_id}"


def test_log_calls_of_an_endpoint_are_its_invocation_s(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """Records of async and sync code of one request, in order, are in its object."""
    app = FastAPI()

    def dependency() -> None:
        logger.info("sync")

    @app.get("/", dependencies=[])
    async def endpoint() -> None:
        logger.info("async")
        await asyncio.to_thread(dependency)

    make_handler(app)(sources.request("http-api", "/"), context)

    assert cloud.messages(context.aws_request_id) == ["async", "sync"]
