"""The template: what it deploys is closed, encrypted, bounded, and fits the code."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment import Deployment
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from app.durable import MOST_ATTEMPTS
from handler.settings import RESPOND, Settings

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
REGION = "eu-central-1"

# An HTTP API's maximum integration timeout, in seconds.
HTTP_API_TIMEOUT = 30

DAY = 24 * 60 * 60

CONSTRAINTS = {"AllowedValues", "AllowedPattern", "MinValue", "MinLength"}

Document = dict[str, Any]


@pytest.fixture(scope="module")
def template() -> Document:
    """Return the template as it is written."""
    document: Document = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def resources(template: Document) -> Document:
    """Return the resources that CloudFormation makes, after the SAM translator."""
    document = copy.deepcopy(template)
    # `sam package` replaces the path by such an address; the translator takes nothing else.
    document["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        transformed: Document = transform(document, {}, None)
    resources: Document = transformed["Resources"]
    return resources


def of_type(resources: Document, name: str) -> dict[str, Document]:
    """Return the properties of all resources of a type, at least one, by logical id."""
    found = {key: value["Properties"] for key, value in resources.items() if value["Type"] == name}
    assert found, name
    return found


def allow_statements(resources: Document) -> Iterator[Document]:
    """Yield every statement of every policy of every role."""
    for role in of_type(resources, "AWS::IAM::Role"):
        yield from role_statements(resources, role)


def role_statements(resources: Document, role: str) -> Iterator[Document]:
    """Yield every statement of the policies of one role."""
    for policy in resources[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            # One that depends on a parameter: what is allowed when it is chosen.
            yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def queue_statements(resources: Document, queue: str) -> list[Document]:
    """Return the statements of the policy of one queue."""
    (policy,) = (
        policy
        for policy in of_type(resources, "AWS::SQS::QueuePolicy").values()
        if policy["Queues"] == [{"Ref": queue}]
    )
    statements: list[Document] = policy["PolicyDocument"]["Statement"]
    return statements


def granted(resources: Document, role: str, service: str) -> dict[str, set[str]]:
    """Return what a role may do in a service: the resources, by their keys or names, by action."""
    grants: dict[str, set[str]] = {}
    for statement in role_statements(resources, role):
        if not any(a.startswith(f"{service}:") for a in as_list(statement["Action"])):
            continue
        (resource,) = as_list(statement["Resource"])
        name = resource.get("Fn::Sub") or ".".join(resource["Fn::GetAtt"])
        for action in as_list(statement["Action"]):
            if action.startswith(f"{service}:"):
                grants.setdefault(action.partition(":")[2], set()).add(name)
    return grants


def as_list(value: Any) -> list[Any]:
    """Return an IAM element, which may be a lone value, as a list."""
    return value if isinstance(value, list) else [value]


def test_every_parameter_is_described_and_constrained(template: Document) -> None:
    """A parameter says what it means, and CloudFormation refuses a value that cannot work."""
    for name, parameter in template["Parameters"].items():
        assert parameter.get("Description"), name
        assert CONSTRAINTS & parameter.keys(), name


def test_the_console_groups_every_parameter(template: Document) -> None:
    """The deploy form shows every parameter in a group, in the order of the template."""
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]

    grouped = [name for group in groups for name in group["Parameters"]]

    assert grouped == list(template["Parameters"])


def test_the_mail_servers_password_is_not_shown(template: Document) -> None:
    """CloudFormation shows the parameter that can hold a password to nobody."""
    assert template["Parameters"]["SmtpUrl"]["NoEcho"] is True


@pytest.mark.parametrize("url", ["", "smtps://ada:secret@mail.example.com:465", "smtp://localhost"])
def test_what_sends_mail_is_accepted(template: Document, url: str) -> None:
    """E-mail can be switched on, and off again."""
    assert re.search(template["Parameters"]["SmtpUrl"]["AllowedPattern"], url)


@pytest.mark.parametrize("url", ["mail.example.com", "https://mail.example.com", "smtp://a b"])
def test_what_sends_no_mail_is_refused(template: Document, url: str) -> None:
    """An address that is no URL for SMTP is refused before anything is deployed."""
    assert not re.search(template["Parameters"]["SmtpUrl"]["AllowedPattern"], url)


def test_parameters_and_settings_agree_on_when_to_respond(template: Document) -> None:
    """The template offers the values of RESPOND that the settings know."""
    assert template["Parameters"]["Respond"]["AllowedValues"] == list(RESPOND)


@pytest.mark.parametrize("bound", ["MinValue", "Default", "MaxValue"])
def test_settings_accept_every_number_of_seconds_that_the_template_accepts(
    template: Document, bound: str
) -> None:
    """No value that passes the template's bounds is refused by the function at init."""
    reserve = template["Parameters"]["DeadlineReserveSeconds"][bound]
    backoff = template["Parameters"]["RetryBackoffSeconds"][bound]

    settings = Settings.from_environ(
        {
            "BUCKET": "bucket",
            "DEADLINE_RESERVE_SECONDS": str(reserve),
            "RETRY_BACKOFF_SECONDS": str(backoff),
        }
    )

    assert (settings.deadline_reserve, settings.backoff) == (reserve, backoff)


def test_the_reserve_leaves_time_for_tasks(template: Document) -> None:
    """Half of the shortest timeout at least is for the request and its tasks."""
    parameters = template["Parameters"]
    shortest = min(
        int(timeout)
        for name in ("Timeout", "WorkerTimeout")
        for timeout in parameters[name]["AllowedValues"]
    )

    assert parameters["DeadlineReserveSeconds"]["MaxValue"] * 2 <= shortest


def test_the_function_ends_before_the_api_gives_up(template: Document, resources: Document) -> None:
    """Whatever timeout is chosen where the answer leaves last, the HTTP API waits longer."""
    function = of_type(resources, "AWS::Lambda::Function")["ApiFunction"]
    (rule,) = template["Rules"]["TimeoutFitsTheApi"]["Assertions"]
    timeouts, chosen = rule["Assert"]["Fn::Contains"]

    assert function["Timeout"] == chosen == {"Ref": "Timeout"}
    assert max(map(int, timeouts)) < HTTP_API_TIMEOUT
    assert template["Rules"]["TimeoutFitsTheApi"]["RuleCondition"] == {
        "Fn::Equals": [{"Ref": "Respond"}, "after-tasks"]
    }


def test_no_statement_allows_every_resource(resources: Document) -> None:
    """A role's statement names its resources: a bare * is none."""
    for statement in allow_statements(resources):
        # Traces are of no resource: the service authorization reference of X-Ray.
        if not all(action.startswith("xray:Put") for action in as_list(statement["Action"])):
            assert "*" not in as_list(statement["Resource"]), statement


def test_no_statement_allows_a_family_of_actions(resources: Document) -> None:
    """A role's statement names its actions one by one."""
    for statement in allow_statements(resources):
        assert not any("*" in action for action in as_list(statement["Action"])), statement


def test_no_role_has_a_managed_policy(resources: Document) -> None:
    """What a role may do is written in the template: AWS's own policies name every resource."""
    for role in of_type(resources, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role


def test_the_api_may_accept_tasks_and_uploads_and_add_to_the_log(resources: Document) -> None:
    """In S3, the API's function has what accepting needs; it deletes nothing but tasks."""
    assert granted(resources, "ApiRole", "s3") == {
        "PutObject": keys("log/*", "tasks/*", "uploads/*"),
        "GetObject": keys("tasks/*"),
        "DeleteObject": keys("tasks/*"),
        "ListBucket": {"Bucket.Arn"},
    }


def test_the_worker_may_work_on_tasks_and_add_to_the_log(resources: Document) -> None:
    """In S3, the worker reads and writes tasks, reads uploads, and deletes nothing."""
    assert granted(resources, "WorkerRole", "s3") == {
        "PutObject": keys("log/*", "tasks/*"),
        "GetObject": keys("tasks/*", "uploads/*"),
        "ListBucket": {"Bucket.Arn"},
    }


def test_the_compactor_may_read_the_log_and_replace_it(resources: Document) -> None:
    """Nobody else may delete from the log, and nobody at all what it was compacted into."""
    assert granted(resources, "CompactRole", "s3") == {
        "GetObject": keys("log/*", "compacted/*"),
        "DeleteObject": keys("log/*"),
        "PutObject": keys("compacted/*"),
        "ListBucket": {"Bucket.Arn"},
    }


def test_the_worker_may_take_messages_and_give_them_up(resources: Document) -> None:
    """The worker's role has what its event source mapping needs, and a way to give up a task."""
    assert granted(resources, "WorkerRole", "sqs") == {
        "ReceiveMessage": {"Queue.Arn"},
        "DeleteMessage": {"Queue.Arn"},
        "GetQueueAttributes": {"Queue.Arn"},
        "ChangeMessageVisibility": {"Queue.Arn"},
        "SendMessage": {"DeadLetterQueue.Arn"},
    }


def test_the_api_needs_no_queue(resources: Document) -> None:
    """Tasks are queued by the bucket: the API's role can do nothing in SQS."""
    assert granted(resources, "ApiRole", "sqs") == {}


def test_missing_keys_can_be_told_from_forbidden_ones(resources: Document) -> None:
    """Where objects are read, S3 may say that there is none; only the compactor lists log/."""
    for role in of_type(resources, "AWS::IAM::Role"):
        (listing,) = (
            statement
            for statement in role_statements(resources, role)
            if statement["Action"] == "s3:ListBucket"
        )
        read = granted(resources, role, "s3")["GetObject"]
        listed = keys(*listing["Condition"]["StringLike"]["s3:prefix"])
        assert read <= listed
        assert (keys("log/*") <= listed) == (role == "CompactRole")


def test_the_log_is_where_the_functions_may_write_it(resources: Document) -> None:
    """LOG_PREFIX and COMPACTED_PREFIX are the prefixes that the roles name."""
    for function in of_type(resources, "AWS::Lambda::Function").values():
        variables = function["Environment"]["Variables"]
        # The compactor writes where its own variable says.
        prefix = variables.get("COMPACTED_PREFIX", variables["LOG_PREFIX"])
        role = function["Role"]["Fn::GetAtt"][0]
        assert keys(f"{prefix}*") <= granted(resources, role, "s3")["PutObject"]


def keys(*patterns: str) -> set[str]:
    """Return keys of the bucket as policies name them."""
    return {f"${{Bucket.Arn}}/{pattern}" for pattern in patterns}


def test_every_function_has_a_role_of_its_own(resources: Document) -> None:
    """No function has what only another one needs."""
    roles = [
        function["Role"]["Fn::GetAtt"][0]
        for function in of_type(resources, "AWS::Lambda::Function").values()
    ]

    assert len(set(roles)) == len(roles)


def test_a_task_is_queued_by_being_written(resources: Document) -> None:
    """The bucket notifies the queue of tasks/ID/task.json and of no other key."""
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()

    (notification,) = bucket["NotificationConfiguration"]["QueueConfigurations"]

    assert notification["Event"] == "s3:ObjectCreated:*"
    assert notification["Queue"] == {"Fn::GetAtt": ["Queue", "Arn"]}
    assert notification["Filter"]["S3Key"]["Rules"] == [
        {"Name": "prefix", "Value": "tasks/"},
        {"Name": "suffix", "Value": "/task.json"},
    ]


def test_only_the_bucket_may_send_to_the_queue(resources: Document) -> None:
    """S3 may send in the name of this account's bucket of that name, and nobody else may."""
    (allow,) = (
        statement
        for statement in queue_statements(resources, "Queue")
        if statement["Effect"] == "Allow"
    )
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()
    name, stack_id = bucket["BucketName"]["Fn::Sub"]

    assert allow["Principal"] == {"Service": "s3.amazonaws.com"}
    assert allow["Action"] == "sqs:SendMessage"
    assert allow["Condition"] == {
        "ArnEquals": {
            "aws:SourceArn": {"Fn::Sub": [f"arn:${{AWS::Partition}}:s3:::{name}", stack_id]}
        },
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
    }


def test_the_queue_has_its_policy_before_the_bucket_notifies_it(resources: Document) -> None:
    """S3 refuses a notification whose queue does not let it send yet."""
    assert resources["Bucket"]["DependsOn"] == "QueuePolicy"


def test_every_queue_refuses_plain_http(resources: Document) -> None:
    """A request to a queue that did not come by TLS is denied to everyone."""
    for queue in of_type(resources, "AWS::SQS::Queue"):
        (deny,) = (
            statement
            for statement in queue_statements(resources, queue)
            if statement["Effect"] == "Deny"
        )
        assert (deny["Principal"], deny["Action"]) == ("*", "sqs:*")
        assert deny["Resource"] == {"Fn::GetAtt": [queue, "Arn"]}
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_every_queue_is_encrypted() -> None:
    """Messages are encrypted at rest."""
    for queue in Deployment().of_type("AWS::SQS::Queue").values():
        assert queue["SqsManagedSseEnabled"] is True, queue


def test_the_worker_reads_the_queue(resources: Document) -> None:
    """Small batches, of which only what failed comes back, as many at a time as was chosen."""
    (mapping,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()

    assert mapping["FunctionName"] == {"Ref": "WorkerFunction"}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["Queue", "Arn"]}
    assert mapping["BatchSize"] <= 10
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MaximumConcurrency"}}


def test_messages_stay_invisible_while_they_are_worked_on(
    template: Document, resources: Document
) -> None:
    """For each timeout of the worker, the visibility timeout is six times as long, or longer."""
    timeouts = template["Mappings"]["WorkerTimeouts"]

    assert list(timeouts) == template["Parameters"]["WorkerTimeout"]["AllowedValues"]
    for timeout, derived in timeouts.items():
        # Twelve hours are SQS's maximum.
        assert int(timeout) * 6 <= derived["VisibilityTimeout"] <= 12 * 60 * 60
    queue = resources["Queue"]["Properties"]
    chosen = {"Ref": "WorkerTimeout"}
    assert queue["VisibilityTimeout"] == {
        "Fn::FindInMap": ["WorkerTimeouts", chosen, "VisibilityTimeout"]
    }
    assert resources["WorkerFunction"]["Properties"]["Timeout"] == chosen


def test_sqs_gives_up_a_message_after_the_worker_would_have(resources: Document) -> None:
    """No task loses an attempt to SQS, which counts receives; what cannot be read still ends."""
    redrive = resources["Queue"]["Properties"]["RedrivePolicy"]

    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetterQueue", "Arn"]}
    assert MOST_ATTEMPTS < redrive["maxReceiveCount"] <= 1000


def test_the_dead_letter_queue_keeps_messages_as_long_as_it_can(resources: Document) -> None:
    """Fourteen days, SQS's maximum, for a fix and a redrive."""
    assert resources["DeadLetterQueue"]["Properties"]["MessageRetentionPeriod"] == 14 * DAY


def test_tasks_outlive_their_messages(template: Document, resources: Document) -> None:
    """A message that waited in both queues as long as it can still finds its task."""
    waits = (
        queue["MessageRetentionPeriod"] for queue in of_type(resources, "AWS::SQS::Queue").values()
    )

    assert template["Parameters"]["TaskExpirationDays"]["MinValue"] * DAY >= sum(waits)


def test_standard_output_goes_to_a_log_group_that_forgets(resources: Document) -> None:
    """Functions print to log groups of this template, which keep records for a chosen time."""
    groups = of_type(resources, "AWS::Logs::LogGroup")

    for function in of_type(resources, "AWS::Lambda::Function").values():
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in groups
    for group in groups.values():
        assert group["RetentionInDays"] == {"Ref": "LogExpirationDays"}


def test_the_bucket_is_closed_to_the_public(resources: Document) -> None:
    """No access list and no policy can open the bucket."""
    for bucket in of_type(resources, "AWS::S3::Bucket").values():
        assert bucket["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_the_bucket_is_encrypted() -> None:
    """Objects are encrypted at rest without their writer asking for it."""
    for bucket in Deployment().of_type("AWS::S3::Bucket").values():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_every_bucket_refuses_plain_http(resources: Document) -> None:
    """A request to a bucket or its objects that did not come by TLS is denied to everyone."""
    policies = of_type(resources, "AWS::S3::BucketPolicy").values()

    guarded = {
        policy["Bucket"]["Ref"]: policy["PolicyDocument"]["Statement"] for policy in policies
    }

    for name in of_type(resources, "AWS::S3::Bucket"):
        (statement,) = guarded[name]
        assert statement["Effect"] == "Deny"
        assert (statement["Principal"], statement["Action"]) == ("*", "s3:*")
        assert statement["Resource"] == [
            {"Fn::GetAtt": [name, "Arn"]},
            {"Fn::Sub": f"${{{name}.Arn}}/*"},
        ]
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


def test_objects_expire(resources: Document) -> None:
    """Whatever the functions write is deleted after the time that was chosen for it."""
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()

    expiring = {
        rule["Prefix"]: (rule["ExpirationInDays"]["Ref"], rule["Status"])
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        # Query results are written by Athena: tests/test_log_table.py.
        if "ExpirationInDays" in rule and rule["Prefix"] != "athena/"
    }

    assert expiring == {
        "log/": ("LogExpirationDays", "Enabled"),
        "compacted/": ("LogExpirationDays", "Enabled"),
        "tasks/": ("TaskExpirationDays", "Enabled"),
        "uploads/": ("TaskExpirationDays", "Enabled"),
    }
    written = {
        key
        for role in ("ApiRole", "CompactRole")
        for key in granted(resources, role, "s3")["PutObject"]
    }
    assert keys(*(f"{prefix}*" for prefix in expiring)) == written


def test_uploads_that_were_cut_off_are_aborted(resources: Document) -> None:
    """Parts of a multipart upload that nobody completed do not stay, whatever their prefix."""
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()

    aborting = [
        rule
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "AbortIncompleteMultipartUpload" in rule
    ]

    assert [(rule["Status"], rule.get("Prefix")) for rule in aborting] == [("Enabled", None)]


def test_records_outlive_the_stack(resources: Document) -> None:
    """Deleting or replacing the stack's bucket or log groups keeps what they hold."""
    for resource in resources.values():
        if resource["Type"] in {"AWS::S3::Bucket", "AWS::Logs::LogGroup"}:
            assert resource["DeletionPolicy"] == "Retain"
            assert resource["UpdateReplacePolicy"] == "Retain"


def test_outputs_name_what_one_works_with(template: Document) -> None:
    """After a deployment, SAM prints where API, log, tasks and dashboard are."""
    assert list(template["Outputs"]) == [
        "Url",
        "BucketName",
        "QueueUrl",
        "QueueArn",
        "DeadLetterQueueUrl",
        "DeadLetterQueueArn",
        "DashboardUrl",
    ]


def test_every_output_is_described(template: Document) -> None:
    """What a deployment prints says what it is for."""
    for name, output in template["Outputs"].items():
        assert output.get("Description"), name


def test_every_condition_is_used(template: Document) -> None:
    """A parameter that switches something does switch it."""
    text = json.dumps({name: template[name] for name in ("Globals", "Resources", "Outputs")})

    for condition in template["Conditions"]:
        used = f'"Condition": "{condition}"', f'"Fn::If": ["{condition}",'
        assert any(each in text for each in used), condition


def test_every_parameter_is_used(template: Document) -> None:
    """A parameter means something: its value goes somewhere."""
    text = json.dumps({name: each for name, each in template.items() if name != "Parameters"})

    for parameter in template["Parameters"]:
        used = f'{{"Ref": "{parameter}"}}', f"${{{parameter}}}"
        assert any(each in text for each in used), parameter
