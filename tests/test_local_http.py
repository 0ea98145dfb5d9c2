"""The HTTP front in local/: requests become events, and results answers, as API Gateway does it."""

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import pytest

from local.http_event import response_for
from local.http_front import HttpFront
from local.http_server import Server
from local.invocation import FunctionError, Invocation


class Front:
    """A front whose function is a Python callable; None from it means no response, ever."""

    def __init__(self) -> None:
        """Answer with the event until told otherwise."""
        self.function: Callable[[Any], Any] = lambda event: event
        self.address = ""
        self.ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def invoke(self, payload: bytes) -> Invocation:
        """Stand for Runtime.start."""
        invocation = Invocation(payload)
        try:
            result = self.function(json.loads(payload))
        except FunctionError as error:
            invocation.fail(error)
        else:
            if result is not None:
                invocation.respond(json.dumps(result).encode())
        return invocation

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        assert self.ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        front = HttpFront(self.invoke, integration_seconds=0.2)
        server = Server(front.handle)
        self.address = self._loop.run_until_complete(server.listen())
        self.ready.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are; returns all that comes back until the server closes."""
        host, port = self.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer


@pytest.fixture
def front() -> Iterator[Front]:
    """Run a front."""
    with Front() as front:
        yield front


@pytest.fixture
def client(front: Front) -> Iterator[httpx.Client]:
    """Open a client of the front."""
    with httpx.Client(base_url=f"http://{front.address}", trust_env=False) as client:
        yield client


def test_a_request_is_an_event_of_payload_2_0(client: httpx.Client) -> None:
    """Method, path, query, headers and address are where payload 2.0 has them."""
    event = client.get("/a/b?x=1&x=2&y=&z=%C3%A9", headers={"User-Agent": "me"}).json()
    assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "$default", "/a/b")
    assert event["rawQueryString"] == "x=1&x=2&y=&z=%C3%A9"
    assert event["queryStringParameters"] == {"x": "1,2", "y": "", "z": "é"}
    context = event["requestContext"]
    assert context["http"] == {
        "method": "GET",
        "path": "/a/b",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "me",
    }
    assert context["stage"] == "$default"
    assert context["domainName"] == "127.0.0.1"
    assert context["timeEpoch"] > 1_700_000_000_000
    assert "body" not in event
    assert event["isBase64Encoded"] is False


def test_the_path_is_decoded(front: Front) -> None:
    """An HTTP API decodes what it puts into rawPath."""
    answer = front.raw(
        b"GET /send/ada%40example.com/%C3%A9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["rawPath"] == "/send/ada@example.com/é"


def test_repeated_headers_are_joined_and_cookies_set_apart(client: httpx.Client) -> None:
    """Headers have lower-case names and one value each; cookies are a list of their own."""
    headers = [("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1; b=2")]
    event = client.get("/", headers=headers).json()
    assert event["headers"]["x-a"] == "1,2"
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json", b'{"a": 1}', False),
        ("text/plain; charset=utf-8", "é".encode(), False),
        ("text/plain", b"\xff\xfe", True),
        ("application/x-www-form-urlencoded", b"a=1", True),
        ("application/octet-stream", b"a", True),
        ("", b"a", True),
    ],
)
def test_bodies_that_are_not_text_are_base64(
    client: httpx.Client, content_type: str, body: bytes, *, encoded: bool
) -> None:
    """JSON and text come as they are, everything else in base64."""
    headers = {"content-type": content_type} if content_type else {}
    event = client.post("/", content=body, headers=headers).json()
    assert event["isBase64Encoded"] is encoded
    text = event["body"]
    assert (base64.b64decode(text) if encoded else text.encode()) == body


def test_a_result_is_an_answer(front: Front, client: httpx.Client) -> None:
    """Status, headers, cookies and body of the result are the answer's."""
    front.function = lambda _: {
        "statusCode": 201,
        "headers": {"X-A": "1", "Content-Length": "99"},
        "cookies": ["a=1; Path=/", "b=2"],
        "body": "made",
    }
    answer = client.get("/")
    assert (answer.status_code, answer.text, answer.headers["x-a"]) == (201, "made", "1")
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.headers["content-length"] == "4"


def test_a_base64_body_is_decoded(front: Front, client: httpx.Client) -> None:
    """Binary answers arrive as they were before base64."""
    body = base64.b64encode(bytes(range(256))).decode()
    front.function = lambda _: {"statusCode": 200, "body": body, "isBase64Encoded": True}
    assert client.get("/").content == bytes(range(256))


@pytest.mark.parametrize("result", [{"a": 1}, [1, 2], "text", 7])
def test_a_result_without_status_is_the_body(result: Any) -> None:
    """API Gateway infers 200 and JSON when a result has no statusCode."""
    answer = response_for(json.dumps(result).encode())
    assert (answer.status, dict(answer.headers)["content-type"]) == (200, "application/json")
    assert answer.body.decode() == (result if isinstance(result, str) else json.dumps(result))


@pytest.mark.parametrize(
    "result",
    [
        {"statusCode": "many"},
        {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
        {"statusCode": 200, "body": {}},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a\r\nb": "c"}},
        {"statusCode": 7},
    ],
)
def test_a_result_that_makes_no_sense_is_a_500(
    front: Front, client: httpx.Client, result: Any
) -> None:
    """A malformed result is an Internal Server Error, and the connection goes on."""
    front.function = lambda _: result
    assert client.get("/").status_code == 500
    front.function = lambda _: {"statusCode": 204}
    assert client.get("/").status_code == 204


def test_a_function_error_is_a_500(front: Front, client: httpx.Client) -> None:
    """What went wrong in the function is not told to the client."""

    def fail(_: Any) -> None:
        raise FunctionError.of("LookupError", "nothing there")

    front.function = fail
    answer = client.get("/")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


def test_a_function_that_takes_too_long_is_a_503(front: Front, client: httpx.Client) -> None:
    """An HTTP API gives up waiting (here after 0.2 s), with an answer of its own."""
    front.function = lambda _: None
    answer = client.get("/")
    assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})


def test_headers_that_are_too_large_are_a_431(client: httpx.Client) -> None:
    """More than an HTTP API takes in request line and headers does not reach the function."""
    answer = client.get("/", headers={"x": "a" * 10_240})

    assert answer.status_code == 431
    assert answer.json() == {"message": "Request Header Fields Too Large"}


def test_a_request_that_is_too_large_is_a_413(client: httpx.Client) -> None:
    """Lambda takes 6 MB, base64 and all."""
    answer = client.post("/", content=b"x" * 5_000_000)
    assert (answer.status_code, answer.json()) == (413, {"message": "Request Entity Too Large"})


def test_head_and_chunked_requests_work(front: Front, client: httpx.Client) -> None:
    """HEAD has the length without the body, a chunked body arrives whole."""
    assert client.post("/", content=iter([b"ab", b"c"])).json()["body"] == "YWJj"
    front.function = lambda _: {"statusCode": 200, "body": "four"}
    answer = client.head("/")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "4")


def test_what_is_not_http_is_refused(front: Front) -> None:
    """A malformed request is answered with 400, and the front serves on."""
    assert front.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert b" 200 " in front.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")


def test_pipelined_requests_are_answered_in_order(front: Front) -> None:
    """Requests that arrive together on one connection are answered one after the other."""
    head = b"GET /%d HTTP/1.1\r\nHost: a\r\n%s\r\n"
    answer = front.raw(head % (1, b"") + head % (2, b"Connection: close\r\n"))
    assert answer.index(b'"rawPath": "/1"') < answer.index(b'"rawPath": "/2"')
