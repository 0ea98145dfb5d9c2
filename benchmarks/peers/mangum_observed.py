"""Mangum, boto3's clients, and Powertools for log, traces and metrics, as its guide shows them."""

from __future__ import annotations

from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from mangum import Mangum

from benchmarks.peers.application import app

logger = Logger(service="benchmark")
tracer = Tracer(service="benchmark")
metrics = Metrics(namespace="benchmark", service="benchmark")
s3 = boto3.client("s3")
sqs = boto3.client("sqs")
mangum = Mangum(app)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer."""
    return mangum(event, context)
