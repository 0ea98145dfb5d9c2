"""The dashboard: all that is counted, from metrics that there are, with what to look for."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from cloudwatch import Emission, Metric, is_reported, of_widget
from conftest import ROOT
from deployment import REGION, Deployment
from resolve import ACCOUNT, Resolver
from samcli.yamlhelper import yaml_parse

COLUMNS = 24

Widget = dict[str, Any]


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """The template with every parameter's default."""
    return Deployment()


@pytest.fixture(scope="module")
def nested(deployment: Deployment) -> dict[str, Any]:
    """The properties of the nested stack."""
    (found,) = deployment.of_type("AWS::CloudFormation::Stack").values()
    return found


@pytest.fixture(scope="module")
def template(nested: dict[str, Any]) -> dict[str, Any]:
    """The nested stack's template as it is written."""
    found: dict[str, Any] = yaml_parse((ROOT / nested["TemplateURL"]).read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def given(deployment: Deployment, nested: dict[str, Any]) -> dict[str, str]:
    """What the nested stack is given for its parameters."""
    found: dict[str, str] = Resolver(deployment)(nested["Parameters"])
    return found


@pytest.fixture(scope="module")
def dashboard(template: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """The properties of the dashboard, as the nested stack makes it of what it is given."""
    resources = SimpleNamespace(resources=template["Resources"], parameters=given)
    found: dict[str, Any] = Resolver(resources)(template["Resources"]["Dashboard"]["Properties"])
    return found


@pytest.fixture(scope="module")
def widgets(dashboard: dict[str, Any]) -> list[Widget]:
    """The widgets, in order."""
    found: list[Widget] = dashboard["DashboardBody"]["widgets"]
    return found


def shown(widgets: list[Widget]) -> set[Metric]:
    """Return the metrics on the dashboard."""
    return {metric for widget in widgets for metric in of_widget(widget)}


def test_the_nested_stack_is_given_what_it_takes(
    template: dict[str, Any], given: dict[str, str]
) -> None:
    """Each of its parameters has a value, within its bounds, and a description."""
    assert given.keys() == template["Parameters"].keys()
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name
        assert len(given[name]) >= parameter.get("MinLength", 1), name
        assert re.search(parameter.get("AllowedPattern", ""), given[name]), name


def test_the_body_is_made_by_functions_that_return_text(template: dict[str, Any]) -> None:
    """Of lists, Fn::ToJsonString makes null or an error (cfn-language-discussion, 103 and 104)."""
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::ToJsonString"]

    functions = re.findall(r'"(Ref|Fn::[A-Za-z]+)": ("|.)', json.dumps(body))

    assert set(functions) == {("Ref", '"'), ("Fn::Sub", '"')}
    assert {each["Type"] for each in template["Parameters"].values()} == {"String"}


def test_all_that_the_functions_count_is_shown(
    widgets: list[Widget],
    deployment: Deployment,
    make_handler: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each of their metrics is on the dashboard, and each on the dashboard is one of theirs."""
    emission = Emission(deployment, make_handler, lambda: capsys.readouterr().out)
    emitted = emission.trouble() | emission.success()
    custom = {each for each in shown(widgets) if not each.namespace.startswith("AWS/")}

    assert custom == emitted.keys()


def test_every_other_metric_is_one_that_aws_reports(
    widgets: list[Widget], deployment: Deployment
) -> None:
    """The metric exists, and its dimension names a resource of this stack."""
    for metric in shown(widgets):
        if metric.namespace.startswith("AWS/"):
            assert is_reported(metric, deployment), metric


@pytest.mark.parametrize("kind", ["AWS::Lambda::Function", "AWS::SQS::Queue"])
def test_every_function_and_queue_is_shown(
    widgets: list[Widget], deployment: Deployment, kind: str
) -> None:
    """What is added to the stack is added to its dashboard."""
    values = {value for metric in shown(widgets) for _, value in metric.dimensions}

    assert set(deployment.of_type(kind)) <= values


def test_every_alarm_is_shown_first(widgets: list[Widget], deployment: Deployment) -> None:
    """The first widget has all alarms of the stack, in their order in the template."""
    named = Resolver(deployment)(deployment.of_type("AWS::CloudWatch::Alarm")).values()

    assert widgets[0]["type"] == "alarm"
    assert widgets[0]["properties"]["alarms"] == [
        f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{each['AlarmName']}" for each in named
    ]


def test_each_section_says_what_to_look_for(widgets: list[Widget]) -> None:
    """Metrics stand below a text across the whole width: a heading, and what to look for."""
    texts = [each for each in widgets if each["type"] == "text"]

    assert widgets[1]["type"] == "text"
    for text in texts:
        heading, _, advice = text["properties"]["markdown"].partition("\n")
        assert text["width"] == COLUMNS
        assert heading.startswith("### ")
        assert advice.startswith("Look for ")


def test_rows_are_full(widgets: list[Widget]) -> None:
    """Widgets are placed from left to right, and fill each row."""
    column = 0
    for widget in widgets:
        assert column + widget["width"] <= COLUMNS, widget
        column = (column + widget["width"]) % COLUMNS
    assert column == 0


def test_each_graph_has_a_title_a_region_and_statistics(widgets: list[Widget]) -> None:
    """Nothing is shown by the console's defaults: an average of a count says nothing."""
    for widget in widgets:
        if widget["type"] == "metric":
            properties = widget["properties"]
            assert properties["title"]
            assert properties["region"] == REGION
            for *_, options in properties["metrics"]:
                assert options["label"]
                assert "stat" in options or "stat" in properties


def test_the_same_stack_in_another_region_has_another_dashboard(
    dashboard: dict[str, Any],
) -> None:
    """An account has one list of dashboards for all regions."""
    assert dashboard["DashboardName"] == f"shop-{REGION}"


def test_every_deployment_may_expand_the_dashboard() -> None:
    """A nested stack with a transform needs CAPABILITY_AUTO_EXPAND, also from --guided."""
    stages = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))

    assert "default" in stages
    for stage in stages.values():
        if isinstance(stage, dict):
            capabilities = stage["deploy"]["parameters"]["capabilities"].split()
            assert {"CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"} == set(capabilities)


def test_the_output_leads_to_the_dashboard(
    deployment: Deployment, dashboard: dict[str, Any]
) -> None:
    """DashboardUrl opens it in the console, in the right region."""
    url = Resolver(deployment)(deployment.outputs["DashboardUrl"]["Value"])

    assert url == (
        f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
        f"#dashboards/dashboard/{dashboard['DashboardName']}"
    )
