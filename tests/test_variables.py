"""Each function gets the environment variables that it reads, and no other; with them it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import REGION, ROOT
from deployment import Deployment
from resolve import Resolver

from handler.settings import Settings

# "Defined runtime environment variables" in the Lambda developer guide, and with SnapStart those of
# "Container credential provider" in the AWS SDKs and Tools Reference Guide.
SET_BY_LAMBDA = {
    "AWS_REGION",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
}
# "Service-specific endpoints" in the AWS SDKs and Tools Reference Guide: where there is another S3.
SET_ELSEWHERE = {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"}

# Starts a function as Lambda's runtime does, and prints which variables anything looked at.
START = """
import importlib, json, os, sys

class Recorder(dict):
    def get(self, name, default=None):
        seen.add(name)
        return super().get(name, default)

    def __getitem__(self, name):
        seen.add(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        seen.add(name)
        return super().__contains__(name)

seen = set()
os.environ = Recorder(os.environ)
module, _, name = sys.argv[1].rpartition(".")
assert callable(getattr(importlib.import_module(module), name))
print(json.dumps(sorted(seen)))
"""


class Recorder(Mapping[str, str]):
    """Variables that remember which of them were asked for."""

    def __init__(self, **values: str) -> None:
        self._values = values
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """Return a value, and note its name."""
        self.seen.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        """Nothing is read by going through all."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Likewise."""
        raise NotImplementedError


@pytest.fixture(scope="module")
def declared() -> dict[str, dict[str, str]]:
    """The variables of each function, with their values."""
    deployment = Deployment(Compact="true")
    return {
        name: {key: str(each) for key, each in Resolver(deployment)(function)["Variables"].items()}
        for name, function in environments(deployment).items()
    }


def environments(deployment: Deployment) -> dict[str, dict[str, object]]:
    """Return the environment of each function."""
    functions = deployment.of_type("AWS::Lambda::Function")
    return {name: function["Environment"] for name, function in functions.items()}


def test_what_the_settings_read_is_declared(declared: dict[str, dict[str, str]]) -> None:
    """Every setting can be set in the template, unless Lambda itself does."""
    environ = Recorder(BUCKET="bucket")

    Settings.from_environ(environ)

    names = {name for variables in declared.values() for name in variables}
    assert environ.seen - SET_BY_LAMBDA - SET_ELSEWHERE <= names
    assert environ.seen >= SET_BY_LAMBDA | SET_ELSEWHERE
    assert not names & (SET_BY_LAMBDA | SET_ELSEWHERE)


def test_what_is_declared_is_read(declared: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """Each function starts with its variables alone, and looks at each of them."""
    functions = Deployment(Compact="true").of_type("AWS::Lambda::Function")
    for name, variables in declared.items():
        # What Lambda sets, or what is of this machine.
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "AWS_REGION": REGION}
        done = subprocess.run(
            [sys.executable, "-c", START, functions[name]["Handler"]],
            cwd=ROOT,
            env=environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        assert variables.keys() <= set(seen), name
