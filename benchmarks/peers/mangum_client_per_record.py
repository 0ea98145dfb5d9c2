"""As ``mangum_put_per_record``, with the client made where it is used."""

from __future__ import annotations

import os
import uuid

import boto3
from mangum import Mangum

from benchmarks.peers import application

BUCKET = os.environ["BUCKET"]


def write_log(message: str) -> None:
    """Put one record."""
    s3 = boto3.client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"log/{uuid.uuid4()}.txt", Body=message.encode())


application.log_to(write_log)
handler = Mangum(application.app)
