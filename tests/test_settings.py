"""Settings are read once, and a bad one is named with its value."""

from __future__ import annotations

import pytest

from handler.errors import SettingsError
from handler.settings import Settings

BUCKET = {"BUCKET": "b"}


def test_only_the_bucket_is_required() -> None:
    """Everything else has the default that the README names."""
    assert Settings.from_environ(BUCKET) == Settings(
        bucket="b",
        respond="after-tasks",
        deadline_reserve=1.0,
        log_prefix="log/",
        service="afterword",
        metrics_namespace="afterword",
    )


def test_each_variable_is_read() -> None:
    """What the environment says replaces the default."""
    read = Settings.from_environ(
        {
            "BUCKET": "mine",
            "RESPOND": "before-tasks",
            "DEADLINE_RESERVE_SECONDS": "2.5",
            "MAX_BODY_BYTES": "4096",
            "LOG_PREFIX": "a/b/",
            "POWERTOOLS_SERVICE_NAME": "shop",
            "POWERTOOLS_METRICS_NAMESPACE": "shops",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        }
    )

    assert read == Settings(
        bucket="mine",
        respond="before-tasks",
        deadline_reserve=2.5,
        max_body=4096,
        log_prefix="a/b/",
        service="shop",
        metrics_namespace="shops",
        runtime_api="127.0.0.1:9001",
        managed_instances=True,
        s3_endpoint="http://127.0.0.1:1",
    )


def test_the_endpoint_of_s3_goes_before_the_general_one() -> None:
    """As in every AWS SDK."""
    environ = BUCKET | {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}

    assert Settings.from_environ(environ).s3_endpoint == "http://s3"


@pytest.mark.parametrize("environ", [{}, {"BUCKET": ""}])
def test_a_missing_bucket_is_named(environ: dict[str, str]) -> None:
    """The error says which variable is missing."""
    with pytest.raises(SettingsError, match=r"BUCKET is (None|'')"):
        Settings.from_environ(environ)


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("RESPOND", "never", "after-tasks, before-tasks"),
        ("DEADLINE_RESERVE_SECONDS", "soon", "a number of seconds from 0.1 to 60"),
        ("DEADLINE_RESERVE_SECONDS", "0", "a number of seconds from 0.1 to 60"),
        ("DEADLINE_RESERVE_SECONDS", "nan", "a number of seconds from 0.1 to 60"),
        ("MAX_BODY_BYTES", "1 MB", "a number of bytes from 1 to 6291456"),
        ("MAX_BODY_BYTES", "0", "a number of bytes from 1 to 6291456"),
        ("MAX_BODY_BYTES", "6291457", "a number of bytes from 1 to 6291456"),
        ("LOG_PREFIX", "log", "end with one slash"),
        ("LOG_PREFIX", "/log/", "not begin with one"),
        ("LOG_PREFIX", "a//b/", "one slash"),
    ],
)
def test_a_bad_value_is_named_with_what_is_right(variable: str, value: str, right: str) -> None:
    """The error has the variable, its value and what would be right."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(BUCKET | {variable: value})

    assert f"{variable} is {value!r}" in str(raised.value)
    assert right in str(raised.value)
