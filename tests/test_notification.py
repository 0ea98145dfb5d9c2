"""FastAPI's documented example of background tasks, served from Lambda."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import Cloud, Context

import events

Handler = Callable[[Any, Any], dict[str, Any]]


def test_both_records_of_the_documented_example_are_in_one_object_in_order(
    handler: Handler, cloud: Cloud, context: Context
) -> None:
    """The dependency's record comes first, the path operation's second, in one S3 object."""
    event = events.load("http-api-notification")
    event["rawQueryString"] = "q=lambda"

    answer = handler(event, context)

    assert answer["statusCode"] == 200
    assert answer["body"] == '{"message":"Message sent"}'
    assert len(cloud.objects(context.aws_request_id)) == 1
    assert cloud.messages(context.aws_request_id) == [
        "found query: lambda",
        "message to jane@example.com",
    ]
