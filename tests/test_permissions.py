"""Roles allow what the functions do, and nothing else: compared with what they are heard to do.

Both functions run as they are deployed, by the real runtime client and with the variables of the
template, in moto, each behind a proxy of its own. What is heard there is held against the policies
of the template, each way round.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from conftest import ROOT
from deployment import Deployment, written
from function import ask
from iam import Grant, Permission, grants, listed, needed
from proxy_s3 import Heard, ProxyS3, proxy_s3
from queueing import body, form, ids, post
from resolve import Resolver

import events
from local import stack
from local.aws import REGION, MotoServer
from local.clients import client_for
from local.event_source_mapping import Batch, EventSourceMapping
from local.runtime import Runtime

HANDLERS = {
    "ApiFunction": "permitted_function.handler",
    "WorkerFunction": "permitted_function.work",
}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/0d990263-018e-4e65-a703-eff731de951e"
TASKS = {"StringLike": {"s3:prefix": "tasks/*"}}
PATIENCE = 60

# What AWS does in a function's name, by whose word. No function does these itself.
BY_AWS = {
    # "Configuring permissions for an Amazon SQS event source" in the Lambda developer guide
    "sqs:ReceiveMessage": "Lambda's pollers",
    "sqs:DeleteMessage": "Lambda's pollers",
    "sqs:GetQueueAttributes": "Lambda's pollers",
    # "Sending Lambda function logs to CloudWatch Logs", likewise
    "logs:CreateLogStream": "Lambda, for what the function prints",
    "logs:PutLogEvents": "Lambda, for what the function prints",
    # "Protecting data with SSE-KMS" in the S3 user guide; "Key management" in the SQS one
    "kms:Decrypt": "S3 and SQS, when something is read or written",
    "kms:GenerateDataKey": "S3 and SQS, when something is written",
    # "Visualize Lambda function invocations using AWS X-Ray" in the Lambda developer guide
    "xray:PutTraceSegments": "Lambda's X-Ray daemon",
    "xray:PutTelemetryRecords": "Lambda's X-Ray daemon",
}


class Application:
    """Both functions, deployed in moto, with an ear at each."""

    def __init__(self, moto: MotoServer, running: ExitStack) -> None:
        self.moto = moto
        self._stack = stack.create(moto.environ)
        self._running = running
        self.proxies = {name: running.enter_context(proxy_s3(moto.endpoint)) for name in HANDLERS}
        self._runtimes = {name: self._run(name) for name in HANDLERS}
        self.bucket = self._stack.functions["ApiFunction"].environ["BUCKET"]
        self.s3 = client_for("s3", moto.environ)
        self._batches: queue.Queue[Batch] = queue.Queue()

    def _run(self, name: str) -> Runtime:
        function = self._stack.functions[name]
        environ = {
            **function.environ,
            **self.moto.environ,
            "AWS_ENDPOINT_URL": self.proxies[name].endpoint,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "RETRY_BACKOFF_SECONDS": "0.1",
        }
        runtime = Runtime(HANDLERS[name], environ, timeout=function.timeout, cwd=ROOT / "tests")
        return self._running.enter_context(runtime)

    @property
    def api(self) -> ProxyS3:
        """The proxy in front of which the API's function is."""
        return self.proxies["ApiFunction"]

    def request(self, event: dict[str, Any], status: int) -> dict[str, Any]:
        """Send a request to the API, and return its answer, which has this status."""
        invocation = self._runtimes["ApiFunction"].start(event)
        answer: dict[str, Any] = invocation.response(PATIENCE)
        invocation.end(PATIENCE)
        assert answer["statusCode"] == status, answer
        return answer

    def see(self, task_id: str) -> str:
        """Return a task's status."""
        status: str = body(self.request(ask(f"/tasks/{task_id}"), 200))["status"]
        return status

    def work_off(self, *task_ids: str) -> dict[str, str]:
        """Let the worker have the queue until these tasks are done; return how they ended."""
        (mapping,) = self._stack.event_source_mappings
        worker = self._runtimes["WorkerFunction"]
        ended: dict[str, str] = {}
        with EventSourceMapping(
            self.moto.environ, mapping.queue_url, worker, concurrency=1, on_batch=self._batches.put
        ):
            while ended.keys() < set(task_ids):
                self._batches.get(timeout=PATIENCE)
                for task_id in task_ids:
                    if (status := self.see(task_id)) in ("SUCCEEDED", "FAILED"):
                        ended[task_id] = status
        return ended

    def resolver(self, deployment: Deployment) -> Resolver:
        """Return what names the resources as they are called in moto."""
        listed = client_for("cloudformation", self.moto.environ).list_stack_resources(
            StackName=stack.NAME
        )["StackResourceSummaries"]
        physical = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in listed}
        return Resolver(deployment, physical, Region=REGION)


def use(application: Application) -> None:
    """Do all that the routes offer, also where it fails."""
    application.request(events.load("http-api-notification"), 200)
    # Two tasks at once, under a key.
    both = application.request(post("/double/5", "times=2", idempotency_key="once"), 202)
    # The second of two writes is refused, so that the first is taken back.
    application.api.deny = len(application.api.calls) + 1
    application.request(post("/double/5", "times=2"), 503)
    application.api.deny = -1
    application.request(ask("/tasks/0190b6a0-0000-7000-8000-000000000000"), 404)
    (form_task,) = ids(application.request(form(b"one two"), 202))
    (upload_task,) = upload(application)
    application.request(post("/files", "upload=0190b6a0-0000-7000-8000-000000000000"), 404)
    (failing,) = ids(application.request(post("/fragile/always"), 202))
    # Its file is gone when the worker looks for it.
    (lost,) = ids(application.request(form(b"three"), 202))
    application.s3.delete_object(Bucket=application.bucket, Key=f"uploads/{lost}/notes.txt")
    # Somebody else has it, as it seems, for a while.
    (leased,) = ids(application.request(post("/double/6"), 202))
    state = json.dumps({"status": "RUNNING", "attempts": 1, "lease_until": 4e9})
    key = f"tasks/{leased}/state.json"
    application.s3.put_object(Bucket=application.bucket, Key=key, Body=state)

    ended = application.work_off(*ids(both), form_task, upload_task, failing, lost)

    assert ended.pop(failing) == ended.pop(lost) == "FAILED"
    assert set(ended.values()) == {"SUCCEEDED"}
    assert application.see(leased) == "RUNNING"


def upload(application: Application) -> list[str]:
    """Upload past the API, by a URL that it signed."""
    wanted = post("/uploads", content_type="application/json")
    wanted["body"] = json.dumps({"name": "a.txt", "size": 3, "media_type": "text/plain"})
    offer = body(application.request(wanted, 201))
    assert httpx.put(offer["url"], content=b"abc", headers=offer["headers"]).is_success
    return ids(application.request(post("/files", f"upload={offer['id']}"), 202))


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    """The application, in use."""
    with MotoServer() as moto, ExitStack() as running:
        made = Application(moto, running)
        use(made)
        yield made


@pytest.fixture(scope="module")
def roles(application: Application) -> dict[str, list[Grant]]:
    """What each function's role grants, whatever is chosen for the parameters."""
    deployment = Deployment(KmsKeyArn=KEY, Tracing="Active")
    resolve = application.resolver(deployment)
    found = {}
    for name, function in deployment.of_type("AWS::Lambda::Function").items():
        role = deployment.resources[function["Role"]["Fn::GetAtt"][0]]["Properties"]
        statements = [
            resolve(statement)
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        found[name] = list(grants(statements))
    return found


@pytest.fixture(scope="module")
def permissions(application: Application) -> dict[str, set[Permission]]:
    """What each function was heard to need. A URL that it signed counts as its own call."""
    return {
        name: {each for heard in proxy.heard for each in needed(heard, REGION)}
        for name, proxy in application.proxies.items()
    }


def test_every_function_is_listened_to() -> None:
    """A function that is added to the template has to be used here."""
    assert set(HANDLERS) == set(Deployment().of_type("AWS::Lambda::Function"))


def test_each_call_is_allowed(
    roles: dict[str, list[Grant]], permissions: dict[str, set[Permission]]
) -> None:
    """Whatever a function asks of S3 and SQS, its role grants."""
    for function, needs in permissions.items():
        assert needs, function
        for need in needs:
            assert any(grant.covers(need) for grant in roles[function]), (function, need)


def test_each_permission_is_used(
    roles: dict[str, list[Grant]], permissions: dict[str, set[Permission]]
) -> None:
    """Each action, on each resource, is done by the function, or by AWS in its name."""
    for function, role in roles.items():
        for grant in role:
            used = any(grant.covers(need) for need in permissions[function])
            assert used or grant.action in BY_AWS, (function, grant)


def test_what_aws_does_is_not_done_by_a_function(
    roles: dict[str, list[Grant]], permissions: dict[str, set[Permission]]
) -> None:
    """The list of what AWS does has nothing that a function does, and nothing that no role has."""
    done = {need.action for needs in permissions.values() for need in needs}
    granted = {grant.action for role in roles.values() for grant in role}

    assert not done & BY_AWS.keys()
    assert BY_AWS.keys() <= granted


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard("GET", "/b/tasks/1?x-id=GetObject"), {"s3:GetObject b/tasks/1"}),
        (Heard("GET", "/b/tasks/1", status=404), {"s3:GetObject b/tasks/1", "s3:ListBucket b"}),
        (Heard("PUT", "/b/k", {"if-none-match": "*"}), {"s3:PutObject b/k"}),
        (Heard("PUT", "/b/k", {"if-match": "e"}), {"s3:PutObject b/k", "s3:GetObject b/k"}),
        (Heard("PUT", "/b/k?X-Amz-Signature=s"), {"s3:PutObject b/k"}),
        (Heard("DELETE", "/b/k%20k"), {"s3:DeleteObject b/k k"}),
        (Heard("POST", "/b?delete", body=b"<Key>k&amp;</Key>"), {"s3:DeleteObject b/k&"}),
        (Heard("GET", "/b?list-type=2&prefix=uploads%2F1"), {"s3:ListBucket b"}),
    ],
)
def test_what_a_request_needs(heard: Heard, expected: set[str]) -> None:
    """A request is translated to what IAM asks for."""
    found = needed(heard, REGION)

    assert {f"{each.action} {each.resource.removeprefix('arn:aws:s3:::')}" for each in found} == (
        expected
    )


@pytest.mark.parametrize("request_line", ["POST /b/k?uploads", "PUT /b?versioning", "GET /b"])
def test_a_request_that_is_not_known_is_no_pass(request_line: str) -> None:
    """What a function has not done before has to be understood first."""
    method, _, path = request_line.partition(" ")

    with pytest.raises((AssertionError, KeyError)):
        list(needed(Heard(method, path), REGION))


@pytest.mark.parametrize(
    ("resource", "condition", "need", "answer"),
    [
        ("b/log/*", {}, Permission("s3:PutObject", "b/log/2026/11/a.jsonl"), "allowed"),
        ("b/log/*", {}, Permission("s3:putobject", "b/log/a"), "allowed"),
        ("b/log/*", {}, Permission("s3:PutObject", "b/logs/a"), "denied"),
        ("b/log/*", {}, Permission("s3:PutObjectAcl", "b/log/a"), "denied"),
        ("b/log/?", {}, Permission("s3:PutObject", "b/log/ab"), "denied"),
        ("b", TASKS, Permission("s3:PutObject", "b", {"s3:prefix": "tasks/1"}), "allowed"),
        ("b", TASKS, Permission("s3:PutObject", "b", {"s3:prefix": "log/1"}), "denied"),
        ("b", TASKS, Permission("s3:PutObject", "b"), "denied"),
    ],
)
def test_what_a_grant_covers(
    resource: str, condition: dict[str, Any], need: Permission, answer: str
) -> None:
    """Wildcards and conditions are what IAM says they are."""
    statement = {"Sid": "S", "Effect": "Allow", "Action": "s3:PutObject", "Resource": resource}

    (grant,) = grants([{**statement, "Condition": condition}])

    assert grant.covers(need) is (answer == "allowed")


def test_every_resource_is_named_unless_it_has_no_name() -> None:
    """Only traces are of no resource ("Actions defined by AWS X-Ray"), where they are sent."""
    unnamed = {
        tracing: {
            action
            for role in Deployment(Tracing=tracing).of_type("AWS::IAM::Role").values()
            for policy in role["Policies"]
            for statement in policy["PolicyDocument"]["Statement"]
            if "*" in listed(statement["Resource"])
            for action in listed(statement["Action"])
        }
        for tracing in ("PassThrough", "Active")
    }

    assert unnamed == {
        "PassThrough": set(),
        "Active": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    }


def test_the_region_that_functions_are_deployed_to_is_no_part_of_a_policy() -> None:
    """Policies name resources by reference, so that a stack works in every region."""
    for role in written()["Resources"].values():
        if role["Type"] == "AWS::IAM::Role":
            assert "arn:aws:" not in json.dumps(role)
