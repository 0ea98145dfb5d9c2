"""Metrics: those that the functions emit, and those that alarms and widgets name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import durables
import function
from conftest import Context
from deployment import Deployment
from function import ask
from queueing import post
from resolve import Resolver

from handler.settings import Settings

# "Types of metrics for Lambda functions" in the Lambda developer guide, "Monitor CloudWatch metrics
# for HTTP APIs" in the API Gateway one, "Available CloudWatch metrics for Amazon SQS" in the SQS
# one: the dimension, the type of resource whose name is its value, and the metrics' names.
SERVICES = {
    "AWS/Lambda": (
        "FunctionName",
        "AWS::Lambda::Function",
        {
            "Invocations",
            "Errors",
            "Throttles",
            "Duration",
            "PostRuntimeExtensionsDuration",
            "ConcurrentExecutions",
        },
    ),
    "AWS/ApiGateway": (
        "ApiId",
        "AWS::ApiGatewayV2::Api",
        {"4xx", "5xx", "Count", "IntegrationLatency", "Latency", "DataProcessed"},
    ),
    "AWS/SQS": (
        "QueueName",
        "AWS::SQS::Queue",
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesDelayed",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfMessagesDeleted",
            "NumberOfMessagesReceived",
            "NumberOfMessagesSent",
        },
    ),
}


@dataclass(frozen=True)
class Metric:
    """A metric as CloudWatch tells it from others."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


def is_reported(metric: Metric, deployment: Deployment) -> bool:
    """Tell whether a service of AWS reports a metric, of a resource that there is."""
    dimension, kind, names = SERVICES[metric.namespace]
    values = deployment.of_type(kind)
    return metric.name in names and metric.dimensions in [((dimension, each),) for each in values]


class Emission:
    """What the functions count, with the settings that the template gives them."""

    def __init__(
        self, deployment: Deployment, make_handler: Callable[..., Any], printed: Callable[[], str]
    ) -> None:
        api = deployment.of_type("AWS::Lambda::Function")["ApiFunction"]
        variables = Resolver(deployment)(api["Environment"]["Variables"])
        self._settings = Settings.from_environ(variables)
        self._make_handler = make_handler
        self._printed = printed

    def trouble(self) -> dict[Metric, float]:
        """Return what is counted when all goes wrong that can."""
        nowhere = "http://127.0.0.1:9"
        tasks = self._invoke(ask("/run", "raise", "async:60", "note:never"))
        return tasks | self._invoke(ask("/run", "note:1"), s3_endpoint=nowhere)

    def success(self) -> dict[Metric, float]:
        """Return what is counted when nothing does."""
        return self._invoke(ask("/run", "note:1")) | self._invoke(post("/double/1"), durables.app)

    def _invoke(
        self, event: dict[str, Any], app: Any = function.app, **options: Any
    ) -> dict[Metric, float]:
        names = {
            "service": self._settings.service,
            "metrics_namespace": self._settings.metrics_namespace,
        }
        handler = self._make_handler(app, **names, deadline_reserve=0.5, **options)
        self._printed()
        handler(event, Context(remaining=1.0))
        return of_blobs(self._printed())


def of_blobs(printed: str) -> dict[Metric, float]:
    """Return the metrics in what functions printed, with the sums of their values."""
    sums: dict[Metric, float] = {}
    for line in printed.splitlines():
        if '"_aws"' not in line:
            continue
        blob = json.loads(line)
        for directive in blob["_aws"]["CloudWatchMetrics"]:
            (names,) = directive["Dimensions"]
            dimensions = tuple((name, blob[name]) for name in names)
            for each in directive["Metrics"]:
                metric = Metric(directive["Namespace"], each["Name"], dimensions)
                sums[metric] = sums.get(metric, 0) + blob[each["Name"]]
    return sums


def of_alarm(alarm: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics that an alarm is about."""
    statistics = [
        each["MetricStat"]["Metric"] for each in alarm.get("Metrics", ()) if "MetricStat" in each
    ]
    for each in statistics or [alarm]:
        dimensions = tuple((one["Name"], one["Value"]) for one in each["Dimensions"])
        yield Metric(each["Namespace"], each["MetricName"], dimensions)


def of_widget(widget: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics that a widget of a dashboard shows."""
    for line in widget["properties"].get("metrics", ()):
        namespace, name, *dimensions = (each for each in line if isinstance(each, str))
        pairs = zip(dimensions[::2], dimensions[1::2], strict=True)
        yield Metric(namespace, name, tuple(pairs))
