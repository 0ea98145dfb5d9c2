"""The template: what it deploys is closed, encrypted, bounded, and fits the code."""

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

from handler.settings import RESPOND, Settings

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
REGION = "eu-central-1"

# An HTTP API's maximum integration timeout, in seconds.
HTTP_API_TIMEOUT = 30

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
    for role in of_type(resources, "AWS::IAM::Role").values():
        for policy in role["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]


def as_list(value: Any) -> list[Any]:
    """Return an IAM element, which may be a lone value, as a list."""
    return value if isinstance(value, list) else [value]


def run(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this virtual environment, where no network can be reached."""
    environ = {
        **os.environ,
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(folder),
    }
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_cfn_lint_has_no_findings(tmp_path: Path) -> None:
    """cfn-lint finds nothing in the template, without a network."""
    result = run(tmp_path, "cfn-lint", str(TEMPLATE))

    assert (result.returncode, result.stdout) == (0, "")


def test_sam_validates_the_template(tmp_path: Path) -> None:
    """`sam validate --lint` accepts the template, without a network."""
    result = run(
        tmp_path, "sam", "validate", "--lint", f"--template={TEMPLATE}", f"--region={REGION}"
    )

    assert "is a valid SAM Template" in result.stdout, result.stderr
    assert result.returncode == 0


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


def test_handlers_exist(resources: Document, tmp_path: Path) -> None:
    """The handler of every function can be imported by a Lambda runtime that has its variables."""
    environ = {**os.environ, "BUCKET": "bucket", "AWS_REGION": REGION, "TMPDIR": str(tmp_path)}

    for function in of_type(resources, "AWS::Lambda::Function").values():
        module, _, attribute = function["Handler"].rpartition(".")
        # In a process of its own, because importing a handler sets up an execution environment.
        code = f"import {module}; assert callable({module}.{attribute})"
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=TEMPLATE.parent, env=environ, check=True, timeout=60)


def test_environment_variables_are_those_of_the_design(resources: Document) -> None:
    """Functions get the variables that the code reads, and no other."""
    for function in of_type(resources, "AWS::Lambda::Function").values():
        assert function["Environment"]["Variables"].keys() == {
            "BUCKET",
            "RESPOND",
            "DEADLINE_RESERVE_SECONDS",
            "LOG_PREFIX",
            "POWERTOOLS_SERVICE_NAME",
            "POWERTOOLS_METRICS_NAMESPACE",
            "POWERTOOLS_LOG_LEVEL",
        }


def test_parameters_and_settings_agree_on_when_to_respond(template: Document) -> None:
    """The template offers the values of RESPOND that the settings know."""
    assert template["Parameters"]["Respond"]["AllowedValues"] == list(RESPOND)


@pytest.mark.parametrize("bound", ["MinValue", "Default", "MaxValue"])
def test_settings_accept_every_reserve_that_the_template_accepts(
    template: Document, bound: str
) -> None:
    """No value that passes the template's bounds is refused by the function at init."""
    reserve = template["Parameters"]["DeadlineReserveSeconds"][bound]

    settings = Settings.from_environ({"BUCKET": "bucket", "DEADLINE_RESERVE_SECONDS": str(reserve)})

    assert settings.deadline_reserve == reserve


def test_the_reserve_leaves_time_for_tasks(template: Document) -> None:
    """Half of the shortest timeout at least is for the request and its tasks."""
    parameters = template["Parameters"]

    assert parameters["DeadlineReserveSeconds"]["MaxValue"] * 2 <= parameters["Timeout"]["MinValue"]


def test_functions_end_before_the_api_gives_up(template: Document, resources: Document) -> None:
    """Whatever timeout is chosen, it is shorter than the HTTP API's."""
    function = of_type(resources, "AWS::Lambda::Function")["ApiFunction"]

    assert function["Timeout"] == {"Ref": "Timeout"}
    assert template["Parameters"]["Timeout"]["MaxValue"] < HTTP_API_TIMEOUT


def test_the_api_hands_every_request_to_the_function(resources: Document) -> None:
    """The API has one route, $default, with events of payload 2.0: FastAPI has the others."""
    (api,) = of_type(resources, "AWS::ApiGatewayV2::Api").values()

    assert list(api["Body"]["paths"]) == ["$default"]
    route = api["Body"]["paths"]["$default"]["x-amazon-apigateway-any-method"]
    assert route["isDefaultRoute"]
    assert route["x-amazon-apigateway-integration"]["payloadFormatVersion"] == "2.0"


def test_no_statement_allows_every_resource(resources: Document) -> None:
    """A role's statement names its resources: a bare * is none."""
    for statement in allow_statements(resources):
        assert "*" not in as_list(statement["Resource"]), statement


def test_no_statement_allows_a_family_of_actions(resources: Document) -> None:
    """A role's statement names its actions one by one."""
    for statement in allow_statements(resources):
        assert not any("*" in action for action in as_list(statement["Action"])), statement


def test_no_role_has_a_managed_policy(resources: Document) -> None:
    """What a role may do is written in the template: AWS's own policies name every resource."""
    for role in of_type(resources, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role


def test_the_function_may_only_add_to_the_log(resources: Document) -> None:
    """In the bucket, the API's function may put objects below LOG_PREFIX and do nothing else."""
    function = of_type(resources, "AWS::Lambda::Function")["ApiFunction"]
    prefix = function["Environment"]["Variables"]["LOG_PREFIX"]

    in_s3 = [
        statement
        for statement in allow_statements(resources)
        if any(action.startswith("s3:") for action in as_list(statement["Action"]))
    ]

    assert [(statement["Action"], statement["Resource"]) for statement in in_s3] == [
        ("s3:PutObject", {"Fn::Sub": f"${{Bucket.Arn}}/{prefix}*"})
    ]


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


def test_the_bucket_is_encrypted(resources: Document) -> None:
    """Objects are encrypted at rest without their writer asking for it."""
    for bucket in of_type(resources, "AWS::S3::Bucket").values():
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


def test_log_objects_expire(resources: Document) -> None:
    """Objects below LOG_PREFIX, and no other, are deleted after the chosen time."""
    function = of_type(resources, "AWS::Lambda::Function")["ApiFunction"]
    (bucket,) = of_type(resources, "AWS::S3::Bucket").values()

    expiring = [
        (rule["Prefix"], rule["ExpirationInDays"], rule["Status"])
        for rule in bucket["LifecycleConfiguration"]["Rules"]
        if "ExpirationInDays" in rule
    ]

    prefix = function["Environment"]["Variables"]["LOG_PREFIX"]
    assert expiring == [(prefix, {"Ref": "LogExpirationDays"}, "Enabled")]


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


def test_outputs_name_the_address_and_the_bucket(template: Document) -> None:
    """After a deployment, SAM prints where the API answers and where the log is."""
    assert list(template["Outputs"]) == ["Url", "BucketName"]
