"""Mangum, with the clients for what this project does in S3 and SQS."""

from __future__ import annotations

import boto3
from mangum import Mangum

from benchmarks.peers.application import app

s3 = boto3.client("s3")
sqs = boto3.client("sqs")
handler = Mangum(app)
