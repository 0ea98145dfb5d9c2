"""The alarms: on what is really counted, in time, with what to do in each."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from cloudwatch import Emission, Metric, is_reported, of_alarm
from deployment import Deployment, Document, written
from resolve import Resolver

ALARM = "AWS::CloudWatch::Alarm"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:on-call"


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """The template with every parameter's default."""
    return Deployment()


@pytest.fixture(scope="module")
def alarms(deployment: Deployment) -> dict[str, Document]:
    """The alarms' properties, by logical id, with every name filled in."""
    found: dict[str, Document] = Resolver(deployment)(deployment.of_type(ALARM))
    return found


@pytest.fixture
def emission(
    deployment: Deployment, make_handler: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> Emission:
    """What the functions count."""
    return Emission(deployment, make_handler, lambda: capsys.readouterr().out)


def custom(alarms: dict[str, Document]) -> dict[str, Metric]:
    """Return the metric of each alarm on what the functions count."""
    return {
        name: metric
        for name, alarm in alarms.items()
        for metric in of_alarm(alarm)
        if not metric.namespace.startswith("AWS/")
    }


def test_alarms_are_raised_by_what_the_functions_count(
    alarms: dict[str, Document], emission: Emission
) -> None:
    """Failed, timed out and not started tasks, and failed flushes, each exceed their threshold."""
    about, trouble = custom(alarms), emission.trouble()

    assert about.keys() == {
        "FailedTasksAlarm",
        "TasksTimedOutAlarm",
        "TasksNotStartedAlarm",
        "FailedFlushesAlarm",
    }
    for name, metric in about.items():
        assert alarms[name]["Statistic"] == "Sum"
        assert alarms[name]["ComparisonOperator"] == "GreaterThanThreshold"
        assert trouble[metric] > alarms[name]["Threshold"], name


def test_no_alarm_is_raised_while_all_is_well(
    alarms: dict[str, Document], emission: Emission
) -> None:
    """Tasks that succeed, or are handed off, count as nothing that an alarm is on."""
    counted = emission.success()

    assert counted
    assert not counted.keys() & set(custom(alarms).values())


def test_every_other_metric_is_one_that_aws_reports(
    deployment: Deployment, alarms: dict[str, Document]
) -> None:
    """The metric exists, and its dimension names a resource of this stack."""
    for name, alarm in alarms.items():
        for metric in set(of_alarm(alarm)) - set(custom(alarms).values()):
            assert is_reported(metric, deployment), (name, metric)


@pytest.mark.parametrize("metric", ["Errors", "Throttles", "Duration"])
def test_every_function_is_watched(
    deployment: Deployment, alarms: dict[str, Document], metric: str
) -> None:
    """Each function has an alarm on its errors, its throttles and its duration."""
    watched = {
        dict(each.dimensions)["FunctionName"]
        for alarm in alarms.values()
        for each in of_alarm(alarm)
        if each.name == metric
    }

    assert watched == set(deployment.of_type("AWS::Lambda::Function"))


def test_the_compactor_is_watched_where_there_is_one() -> None:
    """With Compact=true, hours that cannot be compacted raise an alarm."""
    deployment = Deployment(Compact="true")
    found = Resolver(deployment)(deployment.of_type(ALARM)).values()

    watched = {each for alarm in found for each in of_alarm(alarm)}

    assert Metric("AWS/Lambda", "Errors", (("FunctionName", "CompactFunction"),)) in watched


def test_queues_and_api_are_watched(alarms: dict[str, Document]) -> None:
    """Messages in the dead-letter queue, messages that wait too long, answers with 5xx."""
    watched = {
        (each.name, value)
        for alarm in alarms.values()
        for each in of_alarm(alarm)
        for _, value in each.dimensions
    }

    assert watched >= {
        ("ApproximateNumberOfMessagesVisible", "DeadLetterQueue"),
        ("ApproximateAgeOfOldestMessage", "Queue"),
        ("5xx", "HttpApi"),
    }


def durations() -> list[tuple[str, str, float]]:
    """Return each alarm on a duration with each timeout and reserve that can be chosen."""
    parameters = written()["Parameters"]
    reserve = parameters["DeadlineReserveSeconds"]
    bounds = {"ApiDurationAlarm": "Timeout", "WorkerDurationAlarm": "WorkerTimeout"}
    return [
        (alarm, timeout, seconds)
        for alarm, name in bounds.items()
        for timeout in parameters[name]["AllowedValues"]
        for seconds in (reserve["MinValue"], reserve["MaxValue"])
    ]


@pytest.mark.parametrize(("alarm", "timeout", "reserve"), durations())
def test_a_duration_raises_its_alarm_before_tasks_are_stopped(
    alarm: str, timeout: str, reserve: float
) -> None:
    """Whatever timeout is chosen: at the tasks' deadline it is raised, at half of it it is not."""
    deployment = Deployment(
        Timeout=timeout if alarm.startswith("Api") else "29",
        Respond="before-tasks",
        WorkerTimeout=timeout if alarm.startswith("Worker") else "60",
        DeadlineReserveSeconds=str(reserve),
    )
    properties = Resolver(deployment)(deployment.of_type(ALARM)[alarm])
    deadline = (float(timeout) - reserve) * 1000

    assert value(properties, duration=deadline) > properties["Threshold"]
    assert value(properties, duration=deadline / 2) < properties["Threshold"]


def test_what_lambda_reports_late_is_not_overlooked(alarms: dict[str, Document]) -> None:
    """What an invocation came to is reported at its end and dated by its start."""
    parameters = written()["Parameters"]
    longest = max(
        int(timeout)
        for name in ("Timeout", "WorkerTimeout")
        for timeout in parameters[name]["AllowedValues"]
    )
    for name, alarm in alarms.items():
        if {metric.name for metric in of_alarm(alarm)} & {"Errors", "Duration"}:
            (statistic,) = [
                each["MetricStat"] for each in alarm.get("Metrics", ()) if "MetricStat" in each
            ] or [alarm]
            assert (alarm["EvaluationPeriods"] - 1) * statistic["Period"] >= longest, name
            assert alarm["DatapointsToAlarm"] == 1, name


@pytest.mark.parametrize("timeout", written()["Parameters"]["WorkerTimeout"]["AllowedValues"])
def test_a_message_of_a_worker_that_died_raises_no_alarm(timeout: str) -> None:
    """It comes back after the visibility timeout, and has as long again to be done."""
    deployment = Deployment(WorkerTimeout=timeout)
    properties = Resolver(deployment)(deployment.of_type(ALARM)["OldestMessageAlarm"])
    visibility = written()["Mappings"]["WorkerTimeouts"][timeout]["VisibilityTimeout"]

    assert value(properties, age=2 * visibility) == properties["Threshold"]
    assert properties["ComparisonOperator"] == "GreaterThanThreshold"


@pytest.mark.parametrize(
    ("errors", "requests", "raised"), [(1, 1, True), (1, 99, True), (1, 100, False), (0, 1, False)]
)
def test_one_answer_in_a_hundred_may_be_a_server_error(
    alarms: dict[str, Document],
    errors: int,
    requests: int,
    raised: bool,  # noqa: FBT001 - a row of a table
) -> None:
    """Below a hundred requests, a single 5xx raises the alarm."""
    properties = alarms["ServerErrorsAlarm"]

    share = value(properties, errors=errors, requests=requests)

    assert (share > properties["Threshold"]) is raised


def value(alarm: Document, **metrics: float) -> float:
    """Evaluate the metric math of an alarm, of which numbers and FILL are used."""
    (expression,) = (each for each in alarm["Metrics"] if "Expression" in each)
    given = {each["Id"]: metrics[each["Id"]] for each in alarm["Metrics"] if each != expression}

    def fill(given: float, _: float) -> float:
        return given

    result: float = eval(expression["Expression"], {"FILL": fill}, given)
    return result


def test_metric_math_returns_one_series(alarms: dict[str, Document]) -> None:
    """An alarm is on its expression; the metrics in it have valid names and return no data."""
    for name, alarm in alarms.items():
        if "Metrics" in alarm:
            returned = [each for each in alarm["Metrics"] if each.get("ReturnData", True)]
            assert ["Expression" in each for each in returned] == [True], name
            assert all(re.fullmatch("[a-z][a-zA-Z0-9_]*", each["Id"]) for each in alarm["Metrics"])


def test_missing_data_is_good_where_nothing_was_counted(alarms: dict[str, Document]) -> None:
    """Only SQS stops reporting although there is something to report: those alarms stay put."""
    for name, alarm in alarms.items():
        is_sqs = any(metric.namespace == "AWS/SQS" for metric in of_alarm(alarm))
        assert alarm["TreatMissingData"] == ("ignore" if is_sqs else "notBreaching"), name


def test_every_alarm_says_what_to_do(alarms: dict[str, Document]) -> None:
    """What it means, then what to do; CloudWatch takes 1024 characters."""
    for name, alarm in alarms.items():
        description = alarm["AlarmDescription"]
        assert len(description) <= 1024, name
        assert len(re.findall(r"\.(?= |$)", description)) >= 2, name
        assert "  " not in description, name


def test_an_alarms_name_begins_with_the_stacks(alarms: dict[str, Document]) -> None:
    """Two stacks in one account have alarms of their own, and a message says whose it is."""
    names = {name: alarm["AlarmName"] for name, alarm in alarms.items()}

    assert names == {name: f"shop-{name.removesuffix('Alarm')}" for name in alarms}


def test_without_a_topic_nobody_is_told(alarms: dict[str, Document]) -> None:
    """By default alarms are only to be seen."""
    for alarm in alarms.values():
        assert not alarm.keys() & {"AlarmActions", "OKActions", "InsufficientDataActions"}


def test_a_topic_is_told_of_every_alarm_and_of_its_end() -> None:
    """With AlarmTopicArn, each alarm publishes when it is raised and when it is over."""
    for alarm in Deployment(AlarmTopicArn=TOPIC).of_type(ALARM).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [TOPIC]


@pytest.mark.parametrize(
    "topic", ["", TOPIC, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:On_Call-1"]
)
def test_a_standard_topic_is_accepted(topic: str) -> None:
    """Or none."""
    assert re.search(written()["Parameters"]["AlarmTopicArn"]["AllowedPattern"], topic)


@pytest.mark.parametrize(
    "topic",
    [
        "on-call",
        "ada@example.com",
        f"{TOPIC}.fifo",
        f"{TOPIC}:0d990263-018e-4e65-a703-eff731de951e",
        "arn:aws:sqs:eu-central-1:123456789012:on-call",
    ],
)
def test_what_is_no_standard_topic_is_refused(topic: str) -> None:
    """Before anything is deployed."""
    assert not re.search(written()["Parameters"]["AlarmTopicArn"]["AllowedPattern"], topic)
