"""What `template.yaml` declares, created in moto.

The SAM translator makes CloudFormation of it, as AWS does, and moto's CloudFormation creates
what moto can stand in for. The rest is listed in `template.LEFT_OUT`, but for the buckets'
notifications, which moto's CloudFormation overlooks and `_notify` makes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.clients import client_for, session_for
from local.template import Document, intrinsics, leave_out, of_type, replace, transform

TEMPLATE = Path(__file__).parent.parent / "template.yaml"
NAME = "afterword"
_USED = ("Handler", "Timeout", "MemorySize", "Environment")


@dataclass(frozen=True)
class DeclaredFunction:
    """One function of the template, every value resolved; `timeout` in seconds, `memory` in MB."""

    handler: str
    timeout: float
    memory: int
    environ: Mapping[str, str]


@dataclass(frozen=True)
class DeclaredMapping:
    """An event source mapping of the template: which function gets messages of which queue."""

    function: str
    queue_url: str
    batch_size: int


@dataclass(frozen=True)
class Stack:
    """What was created: the functions by logical id, and a line for each thing left out."""

    functions: Mapping[str, DeclaredFunction]
    event_source_mappings: list[DeclaredMapping]
    left_out: list[str]


def create(environ: Mapping[str, str], path: Path = TEMPLATE) -> Stack:
    """Create the stack of the template at `path`.

    `environ` says where, as MotoServer.environ does.
    """
    document = transform(path, session_for(environ))
    wanted = {
        "functions": {
            name: {key: function[key] for key in _USED if key in function}
            for name, function in of_type(document, "AWS::Lambda::Function")
        },
        "notifications": [
            [{"Ref": name}, bucket["NotificationConfiguration"]]
            for name, bucket in of_type(document, "AWS::S3::Bucket")
            if "NotificationConfiguration" in bucket
        ],
        "mappings": [
            [
                _referred(mapping["FunctionName"]),
                mapping["EventSourceArn"],
                mapping.get("BatchSize", 10),
            ]
            for _, mapping in of_type(document, "AWS::Lambda::EventSourceMapping")
        ],
    }
    left_out = leave_out(document)
    got = _create(client_for("cloudformation", environ), document, wanted)
    for bucket, configuration in got["notifications"]:
        _notify(client_for("s3", environ), bucket, configuration)
    sqs = client_for("sqs", environ)
    return Stack(
        {name: _function(each) for name, each in got["functions"].items()},
        [
            DeclaredMapping(function, _queue_url(sqs, queue_arn), int(batch_size))
            for function, queue_arn, batch_size in got["mappings"]
        ],
        left_out,
    )


def _referred(reference: Document) -> str:
    """Return the logical id in a Ref to a function: there is nothing that moto could resolve."""
    logical_id: str = reference["Ref"]
    return logical_id


def _queue_url(sqs: Any, arn: str) -> str:
    url: str = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    return url


def _create(cloudformation: Any, document: Document, wanted: Any) -> Any:
    """Create the stack; returns `wanted` with its intrinsics resolved, by way of stack outputs."""
    unresolved = intrinsics(wanted)
    keys = {text: f"Value{number}" for number, text in enumerate(unresolved)}
    document["Outputs"] = {keys[text]: {"Value": value} for text, value in unresolved.items()}
    cloudformation.create_stack(StackName=NAME, TemplateBody=json.dumps(document))
    (stack,) = cloudformation.describe_stacks(StackName=NAME)["Stacks"]
    if stack["StackStatus"] != "CREATE_COMPLETE":
        raise RuntimeError(f"moto could not create the stack: {stack}")
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    return replace(wanted, lambda intrinsic: outputs[keys[json.dumps(intrinsic)]])


def _notify(s3: Any, bucket: str, configuration: Document) -> None:
    queues = [
        {
            "QueueArn": each["Queue"],
            "Events": [each["Event"]],
            "Filter": {"Key": {"FilterRules": each["Filter"]["S3Key"]["Rules"]}},
        }
        for each in configuration["QueueConfigurations"]
    ]
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": queues}
    )


def _function(properties: Document) -> DeclaredFunction:
    variables = properties.get("Environment", {}).get("Variables", {})
    return DeclaredFunction(
        handler=properties["Handler"],
        timeout=float(properties.get("Timeout", 3)),
        memory=int(properties.get("MemorySize", 128)),
        environ={name: str(value) for name, value in variables.items()},
    )
