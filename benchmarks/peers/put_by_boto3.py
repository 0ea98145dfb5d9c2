"""``puts`` objects of ``size`` bytes, one after another, by boto3."""

from __future__ import annotations

import os
from typing import Any

import boto3

BUCKET = os.environ["BUCKET"]
s3 = boto3.client("s3")


def handler(event: Any, _context: Any) -> dict[str, Any]:
    """Put."""
    body = b"x" * event["size"]
    for number in range(event["puts"]):
        s3.put_object(Bucket=BUCKET, Key=f"log/{number}", Body=body)
    return {"statusCode": 200}
