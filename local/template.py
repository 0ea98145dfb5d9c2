"""`template.yaml` as CloudFormation sees it, less what moto cannot create."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from boto3 import Session
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

# Types that moto does not create, or that mean nothing here, with what takes their place.
LEFT_OUT = {
    "AWS::ApiGatewayV2::Api": "local/http_front.py",
    "AWS::ApiGatewayV2::Authorizer": "nothing, everybody may call",
    "AWS::ApiGatewayV2::Integration": "local/http_front.py",
    "AWS::ApiGatewayV2::Route": "local/http_front.py",
    "AWS::ApiGatewayV2::Stage": "local/http_front.py",
    "AWS::Athena::NamedQuery": "nothing, there is no Athena",
    "AWS::Athena::WorkGroup": "nothing, there is no Athena",
    "AWS::CloudFormation::Stack": "nothing, no metrics are collected",  # it is the dashboard
    "AWS::CloudWatch::Alarm": "nothing, no metrics are collected",
    "AWS::Events::Rule": "nothing, the compactor is not run",
    "AWS::Glue::Database": "nothing, there is no Athena",
    "AWS::Glue::Table": "nothing, there is no Athena",
    "AWS::IAM::Role": "nothing, no policy is enforced",
    "AWS::Lambda::Alias": "local/runtime.py",
    "AWS::Lambda::EventSourceMapping": "local/event_source_mapping.py",
    "AWS::Lambda::Function": "local/runtime.py",
    "AWS::Lambda::Permission": "nothing, no policy is enforced",
    "AWS::Lambda::Version": "local/runtime.py",
    "AWS::S3::BucketPolicy": "nothing, no policy is enforced",
    "AWS::SQS::QueuePolicy": "nothing, no policy is enforced",
}

Document = dict[str, Any]


def transform(path: Path, session: Session) -> Document:
    """Return the template at `path`, with its SAM resources translated (no network, no upload)."""
    document = yaml_parse(path.read_text())
    for resource in document["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource.setdefault("Properties", {})["InlineCode"] = "# runs from the work tree"
    document.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    for _, function in of_type(document, "AWS::Serverless::Function"):
        function.pop("CodeUri", None)
    translated: Document = Translator({}, Parser(), boto_session=session).translate(document, {})
    return translated


def of_type(document: Document, kind: str) -> Iterator[tuple[str, Document]]:
    """Return the logical id and the properties of each resource of type `kind`."""
    for logical_id, resource in document["Resources"].items():
        if resource["Type"] == kind:
            yield logical_id, resource.get("Properties", {})


def leave_out(document: Document) -> list[str]:
    """Remove what moto cannot create; returns a line for each, naming what takes its place."""
    resources = document["Resources"]
    left_out = [name for name, resource in resources.items() if resource["Type"] in LEFT_OUT]
    document["Resources"] = {
        # DependsOn and Condition order and choose real resources; none of these depends on another.
        name: {key: value for key, value in resource.items() if key != "DependsOn"}
        for name, resource in resources.items()
        if name not in left_out
    }
    return [f"{name} -> {LEFT_OUT[resources[name]['Type']]}" for name in left_out]


def intrinsics(value: Any) -> dict[str, Any]:
    """Return every Ref and Fn::... in `value`, by its JSON text."""
    found: dict[str, Any] = {}
    replace(value, lambda intrinsic: found.setdefault(json.dumps(intrinsic), intrinsic))
    return found


def replace(value: Any, each: Callable[[Any], Any]) -> Any:
    """Return a copy of `value` with each Ref and Fn::... replaced by what `each` makes of it."""
    if isinstance(value, dict):
        name = next(iter(value)) if len(value) == 1 else ""
        if name == "Ref" or name.startswith("Fn::"):
            return each(value)
        return {key: replace(item, each) for key, item in value.items()}
    if isinstance(value, list):
        return [replace(item, each) for item in value]
    return value
