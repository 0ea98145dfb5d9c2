"""What each file of events/ leads to, in whatever way a function is invoked with it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import sources

import events
from handler.ledger import Task

SERVED = [name for name in events.names() if "/" not in name]
TURNED_AWAY = events.names("invalid/")
REFUSED = events.names("refused/")
BATCHES = events.names("worker/")

SENT = {"message": "Message sent"}
STANDARD = [
    "found query: spring",
    "message to jane@example.com",
    "notification for jane@example.com: Your order has shipped",
]
# The records of an event whose name says that it differs from the standard ones.
RECORDS = {
    "http-api-notification-plain": ["message to jane@example.com"],
    "http-api-notification-encoded-path": [
        "found query: 50% off & more",
        "message to jane+news@example.com",
        "notification for jane+news@example.com: a+b c",
    ],
    "http-api-notification-non-ascii-path": [
        "found query: grüße 🌸",
        "message to jörg@example.com",
        "notification for jörg@example.com: 你好",
    ],
    "alb-notification-encoded-path": [
        "found query: grüße & mehr",
        "message to jörg+news@example.com",
    ],
    "rest-api-notification-encoded-path": [
        "found query: grüße & mehr",
        "message to jörg+news@example.com",
    ],
    "function-url-notification-encoded-path": [
        "found query: spring",
        "message to jörg+news@example.com",
        "notification for jörg+news@example.com: Your order has shipped",
    ],
    # FastAPI takes the last of repeated keys.
    "alb-multi-value-notification": ["found query: second", *STANDARD[1:]],
    "http-api-notification-repeated-query": ["found query: second", *STANDARD[1:]],
    "rest-api-notification-repeated-query": ["found query: second", *STANDARD[1:]],
}
STATUS = {
    "bad-base64-body": 400,
    "unknown-path": 404,
    "wrong-method": 405,
    "bad-address": 422,
    "long-query": 422,
}
LOOKS_LIKE = {
    "empty": "an empty object",
    "null": "NoneType (None)",
    "eventbridge": "an EventBridge event",
    "s3": "an S3 notification",
    "sns": "an SNS notification",
    "sqs": "an SQS batch",
    "authorizer": "an API Gateway authorizer request",
    "vpc-lattice": "a VPC Lattice request",
    "websocket": "a WebSocket event of API Gateway",
}

FIRST, SECOND = "019ab6f1-3d2c-7c41-a6f0-5b9d2e8c1a47", "019ab6f1-3d2d-7f08-8e13-c40a7d96b2f5"
# The tasks that each batch names, and the place of the record that comes back, if any.
OF_BATCHES: dict[str, tuple[set[str], list[int]]] = {
    "worker/encoded-key": ({FIRST}, []),
    "worker/malformed-body": (set(), [0]),
    "worker/malformed-body-and-task": ({FIRST}, [0]),
    "worker/one-task": ({FIRST}, []),
    "worker/other-key": (set(), [0]),
    "worker/received-again": ({FIRST}, []),
    "worker/test-event": (set(), []),
    "worker/two-tasks": ({FIRST, SECOND}, []),
}


def recorded(name: str) -> list[str]:
    """Return the messages that an event of the application's routes leads to."""
    if "notification" in name and name in SERVED:
        return RECORDS.get(name, STANDARD)
    return []


def assert_served(name: str, answer: Any) -> None:
    """Check the answer to an event at the top of events/: that of its route."""
    assert answer["statusCode"] == 200
    if name.endswith("-docs"):
        assert b"openapi.json" in sources.body(answer)
    elif name.endswith("-openapi"):
        assert "/send-notification/{email}" in json.loads(sources.body(answer))["paths"]
    else:
        expected = {"status": "ok"} if name.endswith("-health") else SENT
        assert json.loads(sources.body(answer)) == expected


def assert_turned_away(name: str, answer: Any) -> None:
    """Check the answer to an event of invalid/: a status that says what is wrong, and a detail."""
    assert answer["statusCode"] == next(STATUS[case] for case in STATUS if name.endswith(case))
    assert json.loads(sources.body(answer))["detail"]
    assert sources.header(answer, "content-type")[0].startswith("application/json")


def assert_refused(name: str, message: str) -> None:
    """Check the message of the error for an event of refused/: it says what the event is."""
    looks_like = next(text for case, text in LOOKS_LIKE.items() if case in name)
    assert message.endswith(f"; this event is {looks_like}")


def accept_tasks(s3: Any, bucket: str, function: str, arguments: dict[str, Any]) -> None:
    """Put into the ledger both tasks that the batches name, neither run yet."""
    for task_id in (FIRST, SECOND):
        task = Task(
            id=task_id,
            function=function,
            arguments=arguments,
            attempts=3,
            created_at="2025-11-24T16:00:00.000Z",
        )
        body = json.dumps({name: getattr(task, name) for name in task.__slots__}).encode()
        s3.put_object(Bucket=bucket, Key=f"tasks/{task_id}/task.json", Body=body)
        s3.delete_object(Bucket=bucket, Key=f"tasks/{task_id}/state.json")


def assert_worked(name: str, response: Any, s3: Any, bucket: str) -> None:
    """Check what is left of a batch of worker/: tasks that were run, and what comes back."""
    tasks, failed = OF_BATCHES[name]
    statuses = {}
    for task_id in (FIRST, SECOND):
        with contextlib.suppress(s3.exceptions.NoSuchKey):
            state = s3.get_object(Bucket=bucket, Key=f"tasks/{task_id}/state.json")["Body"].read()
            statuses[task_id] = json.loads(state)["status"]
    assert statuses == dict.fromkeys(tasks, "SUCCEEDED")
    ids = [events.load(name)["Records"][place]["messageId"] for place in failed]
    assert [each["itemIdentifier"] for each in response["batchItemFailures"]] == ids
