"""An event that is no HTTP request gets one clear error, and the environment serves on."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cloud, Context
from expectations import REFUSED, assert_refused

import events
from handler.errors import UnsupportedEvent

Handler = Callable[[Any, Any], dict[str, Any]]

ODD: list[tuple[Any, str]] = [
    ([], "list ([])"),
    ([{"httpMethod": "GET"}], "list ([{'httpMethod': 'GET'}])"),
    ("text", "str ('text')"),
    ("", "str ('')"),
    (7, "int (7)"),
    (1.5, "float (1.5)"),
    (True, "bool (True)"),
    ({"a": 1, "b": 2}, "of no source known here (an object with the keys a, b)"),
    ({"version": "2.0"}, "an object with the keys version"),
    ({"version": "2.0", "requestContext": {}}, "requestContext, version"),
    ({"requestContext": 7}, "an object with the keys requestContext"),
    ({"requestContext": "text"}, "an object with the keys requestContext"),
    ({"requestContext": []}, "an object with the keys requestContext"),
    ({"httpMethod": "GET", "path": "/"}, "an object with the keys httpMethod, path"),
    ({"Records": []}, "an object with the keys Records"),
    ({"Records": None}, "an object with the keys Records"),
    ({"Records": [1]}, "an object with the keys Records"),
    ({"Records": {"a": 1}}, "an object with the keys Records"),
    ({"Records": "text"}, "an object with the keys Records"),
    ({"Records": [{}]}, "an object with the keys Records"),
    ({"Records": [{"cf": {"config": {}, "request": {}}}]}, "a CloudFront (Lambda@Edge) event"),
    ({"Records": [{"eventSource": "aws:dynamodb"}]}, "a DynamoDB stream batch"),
    ({"Records": [{"eventSource": "aws:kinesis"}]}, "a Kinesis batch"),
]
TAKEN = ["HTTP API (payload 2.0)", "REST API (payload 1.0)", "function URL", "ALB"]


def refusal(handler: Handler, event: Any) -> str:
    """Return the message with which the handler refuses an event."""
    with pytest.raises(UnsupportedEvent) as caught:
        handler(event, Context())
    return str(caught.value)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_what_the_event_looks_like(handler: Handler, name: str) -> None:
    """The error for each event of events/refused/ names its source."""
    assert_refused(name, refusal(handler, events.load(name)))


@pytest.mark.parametrize(("event", "looks_like"), ODD, ids=[repr(event) for event, _ in ODD])
def test_an_odd_value_is_named(handler: Handler, event: Any, looks_like: str) -> None:
    """A value that no AWS service sends is refused with what there is to say of it."""
    assert looks_like in refusal(handler, event)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_what_is_taken(handler: Handler, name: str) -> None:
    """Whoever wired the wrong source to the function reads which ones it serves."""
    message = refusal(handler, events.load(name))

    assert all(source in message for source in TAKEN)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_error(handler: Handler, name: str) -> None:
    """The error has no other one, such as a KeyError, as its cause or context."""
    with pytest.raises(UnsupportedEvent) as caught:
        handler(events.load(name), Context())

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert "\n" not in "".join(traceback.format_exception_only(caught.value)).strip()


def test_a_large_event_is_named_in_brief(handler: Handler) -> None:
    """The error does not repeat a payload of megabytes."""
    assert len(refusal(handler, "x" * 1_000_000)) < 300
    assert len(refusal(handler, {f"key {number}": 0 for number in range(100_000)})) < 300
    assert len(refusal(handler, {"x" * 1_000_000: 0})) < 1000


@pytest.mark.parametrize("name", REFUSED)
def test_the_next_event_is_served(handler: Handler, cloud: Cloud, name: str) -> None:
    """A refused event leaves nothing behind that the next invocation meets."""
    context = Context()
    refusal(handler, events.load(name))

    answer = handler(events.load("http-api-notification-plain"), context)

    assert answer["statusCode"] == 200
    assert cloud.messages(context.aws_request_id) == ["message to jane@example.com"]


def test_a_refused_event_leaves_no_record(handler: Handler, cloud: Cloud) -> None:
    """Lambda reports the error itself: nothing is put into the bucket."""
    context = Context()

    with pytest.raises(UnsupportedEvent):
        handler({}, context)

    assert cloud.objects(context.aws_request_id) == []
