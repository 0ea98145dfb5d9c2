"""The stack in local/: what a template declares is there, and the rest is named."""

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import unquote

import pytest

from local import stack
from local.aws import MotoServer
from local.clients import client_for

SAMPLE = """
    Transform: AWS::Serverless-2016-10-31
    Parameters:
      Seconds: {Type: Number, Default: 7}
    Globals:
      Function:
        Runtime: python3.13
        CodeUri: .
    Resources:
      Function:
        Type: AWS::Serverless::Function
        Properties:
          Handler: module.handler
          Timeout: !Ref Seconds
          MemorySize: 256
          Environment:
            Variables:
              BUCKET: !Ref Bucket
              TEXT: !Sub "${AWS::StackName} in ${AWS::Region}"
              NUMBER: 1.5
          Events:
            Request: {Type: HttpApi}
            Message:
              Type: SQS
              Properties: {Queue: !GetAtt Queue.Arn, BatchSize: 3}
      Queue:
        Type: AWS::SQS::Queue
      QueuePolicy:
        Type: AWS::SQS::QueuePolicy
        Properties: {Queues: [!Ref Queue], PolicyDocument: {}}
      Bucket:
        Type: AWS::S3::Bucket
        DependsOn: QueuePolicy
        Properties:
          NotificationConfiguration:
            QueueConfigurations:
              - Event: s3:ObjectCreated:*
                Queue: !GetAtt Queue.Arn
                Filter: {S3Key: {Rules: [{Name: prefix, Value: tasks/}]}}
"""


@pytest.fixture
def moto() -> Iterator[MotoServer]:
    """Run a server of its own: two stacks of one name cannot be in one."""
    with MotoServer() as moto:
        yield moto


@pytest.fixture
def sample(moto: MotoServer, tmp_path: Path) -> stack.Stack:
    """Create the sample's stack."""
    template = tmp_path / "template.yaml"
    template.write_text(dedent(SAMPLE))
    return stack.create(moto.environ, template)


def client(moto: MotoServer, service: str) -> Any:
    """Make a client of `service`."""
    return client_for(service, moto.environ)


def test_a_function_is_declared_with_its_values_resolved(
    moto: MotoServer, sample: stack.Stack
) -> None:
    """References to parameters, resources and pseudo parameters become plain text."""
    function = sample.functions["Function"]
    assert (function.handler, function.timeout, function.memory) == ("module.handler", 7.0, 256)
    (bucket,) = client(moto, "s3").list_buckets()["Buckets"]
    assert function.environ == {
        "BUCKET": bucket["Name"],
        "TEXT": "afterword in us-east-1",
        "NUMBER": "1.5",
    }


def test_objects_reach_the_queue_that_the_bucket_notifies(
    moto: MotoServer, sample: stack.Stack
) -> None:
    """A bucket's notification works, for the keys that it names."""
    s3, sqs = client(moto, "s3"), client(moto, "sqs")
    bucket = sample.functions["Function"].environ["BUCKET"]
    (queue,) = sqs.list_queues()["QueueUrls"]
    for key in ("other/1", "tasks/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    bodies = [
        unquote(message["Body"])
        for _ in range(3)
        for message in sqs.receive_message(QueueUrl=queue).get("Messages", [])
    ]
    assert sum("tasks/1" in body for body in bodies) == 1
    assert not any("other/1" in body for body in bodies)


def test_an_event_source_mapping_is_declared(moto: MotoServer, sample: stack.Stack) -> None:
    """What is to be polled for which function is told, with the queue as SQS names it here."""
    (queue,) = client(moto, "sqs").list_queues()["QueueUrls"]
    assert sample.event_source_mappings == [stack.DeclaredMapping("Function", queue, 3)]


def test_what_is_left_out_is_named(sample: stack.Stack) -> None:
    """Every declared thing that moto does not create is listed with what takes its place."""
    names = {line.partition(" -> ")[0] for line in sample.left_out}
    assert {"Function", "FunctionMessage", "QueuePolicy", "ServerlessHttpApi"} <= names
    assert not {"Bucket", "Queue"} & names


def test_the_real_template_declares_the_functions(moto: MotoServer) -> None:
    """template.yaml can be created here, and its functions have its bucket and its queues."""
    created = stack.create(moto.environ)
    api, worker = created.functions["ApiFunction"], created.functions["WorkerFunction"]
    assert (api.handler, worker.handler) == ("handler.api.handler", "handler.worker.handler")
    (bucket,) = client(moto, "s3").list_buckets()["Buckets"]
    assert api.environ["BUCKET"] == worker.environ["BUCKET"] == bucket["Name"]
    (mapping,) = created.event_source_mappings
    assert mapping.function == "WorkerFunction"
    sqs = client(moto, "sqs")
    arns = [
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        for url in (mapping.queue_url, worker.environ["QUEUE_URL"])
    ]
    assert arns[0] == arns[1]


def test_a_task_written_to_the_real_bucket_is_queued(moto: MotoServer) -> None:
    """Of what the functions write, tasks/ID/task.json reaches the queue, and nothing else."""
    created = stack.create(moto.environ)
    s3, sqs = client(moto, "s3"), client(moto, "sqs")
    bucket = created.functions["ApiFunction"].environ["BUCKET"]
    for key in ("tasks/1/state.json", "uploads/1/task.json", "tasks/1/task.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    queue = created.event_source_mappings[0].queue_url
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    test, notification = (json.loads(message["Body"]) for message in received)
    assert test["Event"] == "s3:TestEvent"
    assert unquote(notification["Records"][0]["s3"]["object"]["key"]) == "tasks/1/task.json"


def test_the_server_ends_with_the_block() -> None:
    """No process is left after MotoServer, whose variables point every SDK to it."""
    with MotoServer() as moto:
        assert moto.environ["AWS_ENDPOINT_URL"] == moto.endpoint
        assert client(moto, "s3").list_buckets()["Buckets"] == []
    assert moto.exited
