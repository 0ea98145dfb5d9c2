"""A queue, messages as S3 sends them, and requests that accept durable tasks."""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any

import boto3
import httpx
from conftest import REGION
from function import ask

UUID7 = re.compile(r"/tasks/([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})")


def post(path: str, query: str = "", **headers: str) -> dict[str, Any]:
    """Return a POST event."""
    event = ask(path, query=query)
    event["requestContext"]["http"]["method"] = "POST"
    event["headers"].update({name.replace("_", "-"): value for name, value in headers.items()})
    return event


def ids(answer: dict[str, Any]) -> list[str]:
    """Return the ids of the tasks that an answer names."""
    return UUID7.findall(answer["headers"].get("link", ""))


def form(content: bytes, name: str = "notes.txt", media_type: str = "text/plain") -> dict[str, Any]:
    """Return an event that posts a file."""
    request = httpx.Request(
        "POST", "http://test/files", files={"file": (name, content, media_type)}
    )
    event = post("/files", content_type=request.headers["content-type"])
    event["body"] = base64.b64encode(request.read()).decode()
    event["isBase64Encoded"] = True
    return event


def body(answer: dict[str, Any]) -> Any:
    """Return an answer's JSON."""
    return json.loads(answer["body"])


class Sqs:
    """A queue and its dead-letter queue, and the messages that S3 would send."""

    def __init__(self, endpoint: str) -> None:
        self.client = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        name = uuid.uuid4().hex
        self.url = self.client.create_queue(QueueName=name)["QueueUrl"]
        self.dead_url = self.client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]

    def deliver(self, *bodies: str) -> dict[str, Any]:
        """Put messages into the queue and receive them as Lambda would."""
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)
        received: list[Any] = []
        while len(received) < len(bodies):
            received += self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)[
                "Messages"
            ]
        return {
            "Records": [
                {
                    "messageId": each["MessageId"],
                    "receiptHandle": each["ReceiptHandle"],
                    "body": each["Body"],
                    "attributes": {},
                    "eventSource": "aws:sqs",
                    "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:queue",
                }
                for each in received
            ]
        }

    def dead(self) -> list[str]:
        """Take the bodies of the messages in the dead-letter queue."""
        received = self.client.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=10)
        return [each["Body"] for each in received.get("Messages", [])]


def notification(*task_ids: str) -> str:
    """Return the body of the message that S3 sends for tasks."""
    return json.dumps(
        {"Records": [{"s3": {"object": {"key": f"tasks/{each}/task.json"}}} for each in task_ids]}
    )
