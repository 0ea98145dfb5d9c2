"""What the parameters of the template switch, besides access: how it runs, what it may cost."""

from __future__ import annotations

import tomllib

import pytest
from deployment import TEMPLATE, Deployment, Document, written

KEY = "arn:aws:kms:eu-central-1:123456789012:key/0d990263-018e-4e65-a703-eff731de951e"


def functions(deployment: Deployment) -> dict[str, Document]:
    """Return the properties of the functions, by logical id."""
    return deployment.of_type("AWS::Lambda::Function")


def statements(deployment: Deployment, sid: str) -> list[Document]:
    """Return the statements of that id of all roles."""
    return [
        statement
        for role in deployment.of_type("AWS::IAM::Role").values()
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Sid") == sid
    ]


@pytest.mark.parametrize("timeout", ["60", "900"])
def test_what_waits_for_its_tasks_is_faster_than_the_api(timeout: str) -> None:
    """A timeout that the API would not wait for is refused where the answer leaves last."""
    with pytest.raises(AssertionError, match="Respond=before-tasks"):
        Deployment(Timeout=timeout)


def test_tasks_behind_the_answer_may_take_longer() -> None:
    """In respond-first mode the function may run as long as Lambda lets it."""
    deployment = Deployment(Timeout="900", Respond="before-tasks")

    assert functions(deployment)["ApiFunction"]["Timeout"] == "900"


def test_without_snapstart_the_api_calls_the_newest_code() -> None:
    """A change of a parameter is live when the deployment is, without a version of its own."""
    deployment = Deployment()

    assert functions(deployment)["ApiFunction"]["SnapStart"] == {"ApplyOn": "None"}
    (integration,) = deployment.of_type("AWS::ApiGatewayV2::Integration").values()
    assert integration["IntegrationUri"] == {"Fn::GetAtt": ["ApiFunction", "Arn"]}


def test_with_snapstart_the_api_calls_a_version() -> None:
    """Snapshots are made of versions: API and permission name the alias of the newest."""
    deployment = Deployment(SnapStart="PublishedVersions")
    ((alias, properties),) = deployment.of_type("AWS::Lambda::Alias").items()

    assert functions(deployment)["ApiFunction"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    (integration,) = deployment.of_type("AWS::ApiGatewayV2::Integration").values()
    assert integration["IntegrationUri"] == {"Ref": alias}
    (permission,) = deployment.of_type("AWS::Lambda::Permission").values()
    assert permission["FunctionName"] == {"Ref": alias}
    assert properties["FunctionVersion"]["Fn::GetAtt"][0] in deployment.resources


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Respond", "before-tasks"),
        ("MemorySize", "1024"),
        ("LogLevel", "DEBUG"),
        ("MaxBodyBytes", "4096"),
        ("Tracing", "Active"),
        ("KmsKeyArn", KEY),
    ],
)
def test_a_changed_parameter_makes_a_new_version(name: str, value: str) -> None:
    """Else an alias would go on with the old value: a version's description cannot be changed."""

    def version(**parameters: str) -> object:
        ((key, properties),) = Deployment(**parameters).of_type("AWS::Lambda::Version").items()
        return key, properties["Description"]

    assert version(**{name: value}) != version()


def test_a_password_is_in_no_description() -> None:
    """What a version's description says can be read by whoever may list versions."""
    (version,) = Deployment(SmtpUrl="smtp://a:secret@b").of_type("AWS::Lambda::Version").values()

    assert "secret" not in str(version)


def test_snapstart_answers_after_the_tasks() -> None:
    """An extension's open request is not proven to survive a snapshot, so that is refused."""
    with pytest.raises(AssertionError, match="SnapStart needs Respond=after-tasks"):
        Deployment(SnapStart="PublishedVersions", Respond="before-tasks")


def test_concurrency_is_reserved_when_asked_for() -> None:
    """The API shares the account's environments, or has a number of its own."""
    assert "ReservedConcurrentExecutions" not in functions(Deployment())["ApiFunction"]
    reserved = functions(Deployment(ReservedConcurrency="50"))["ApiFunction"]
    assert reserved["ReservedConcurrentExecutions"] == "50"


def test_traces_are_sent_when_asked_for() -> None:
    """With Tracing=Active functions are traced, and may send traces; else neither."""
    silent, traced = Deployment(), Deployment(Tracing="Active")

    for function in functions(traced).values():
        assert function["TracingConfig"] == {"Mode": "Active"}
    assert len(statements(traced, "SendTraces")) == len(functions(traced))
    assert statements(silent, "SendTraces") == []


def test_a_key_of_one_s_own_encrypts_everything_at_rest() -> None:
    """KmsKeyArn is the key of bucket, queues, log groups and environment variables."""
    deployment = Deployment(KmsKeyArn=KEY)

    (bucket,) = deployment.of_type("AWS::S3::Bucket").values()
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": KEY,
    }
    assert rule["BucketKeyEnabled"] is True
    for queue in deployment.of_type("AWS::SQS::Queue").values():
        assert queue["KmsMasterKeyId"] == KEY
        assert "SqsManagedSseEnabled" not in queue
    for group in deployment.of_type("AWS::Logs::LogGroup").values():
        assert group["KmsKeyId"] == KEY
    for function in functions(deployment).values():
        assert function["KmsKeyArn"] == KEY


def test_functions_may_use_the_key_that_was_chosen() -> None:
    """Each function may read and write by that key, and by none without one."""
    deployment = Deployment(KmsKeyArn=KEY)

    uses = statements(deployment, "UseKey")

    assert len(uses) == len(functions(deployment))
    for use in uses:
        assert use["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
        assert use["Resource"] == KEY
    assert statements(Deployment(), "UseKey") == []


SAMCONFIG = tomllib.loads((TEMPLATE.parent / "samconfig.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_stage_s_parameters_can_be_deployed(stage: str) -> None:
    """What samconfig.toml gives for a stage is in the template, within its bounds and rules."""
    given = dict(
        each.split("=", 1)
        for each in SAMCONFIG[stage]["deploy"]["parameters"]["parameter_overrides"]
    )

    declared = written()["Parameters"]
    for name, value in given.items():
        bounds = declared[name]
        assert value in map(str, bounds.get("AllowedValues", [value])), name
        assert int(bounds.get("MinValue", 0)) <= int(value if "MinValue" in bounds else 0), name
        assert int(value if "MaxValue" in bounds else 0) <= int(bounds.get("MaxValue", 0)), name
    Deployment(**given)


def test_stages_share_nothing() -> None:
    """Each stage is a stack of its own, and prod asks before it changes anything."""
    dev, prod = (SAMCONFIG[stage]["deploy"]["parameters"] for stage in ("dev", "prod"))

    assert dev["stack_name"] != prod["stack_name"]
    assert dev["s3_prefix"] != prod["s3_prefix"]
    assert prod["confirm_changeset"] is True
