"""SAM CLI on this project: a build for this machine, and `sam local` on it."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from samcli.yamlhelper import yaml_dump, yaml_parse

from local.aws import REGION
from local.docker import architecture

ROOT = Path(__file__).parent.parent
_SAM = str(Path(sys.executable).with_name("sam"))

# What an HTTP API does unasked, `sam local start-api` does only for the media types of a REST API:
# hand on a body that is not text (samcli/local/apigw/event_constructor.py). So there is one,
# without routes.
_BINARY_BODIES = {
    "Type": "AWS::ApiGateway::RestApi",
    "Properties": {"Body": {"swagger": "2.0", "paths": {}}, "BinaryMediaTypes": ["*/*"]},
}


class BuildFailed(Exception):
    """`sam build` did not succeed; the message is all that it printed."""


def build(folder: Path, environ: Mapping[str, str]) -> Path:
    """Run `sam build` for this machine's processor into `folder`; returns the built template."""
    ended = subprocess.run(  # noqa: S603 - our own arguments
        [_SAM, "build", f"--build-dir={folder}", *_options()],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise BuildFailed(ended.stdout)
    return folder / "template.yaml"


def adapt(template: Path, name: str, variables: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a copy of a built template as `name` beside it, with each function's variables.

    `sam local --env-vars` cannot do that: it changes variables that the template declares, and no
    deployed function has an AWS_ENDPOINT_URL.
    """
    document = yaml_parse(template.read_text(encoding="utf-8"))
    for function, values in variables.items():
        document["Resources"][function]["Properties"]["Environment"] = {"Variables": dict(values)}
    document["Resources"]["BinaryBodies"] = _BINARY_BODIES
    copy = template.with_name(name)
    copy.write_text(yaml_dump(document), encoding="utf-8")
    return copy


def local(command: str, template: Path, *arguments: str) -> list[str]:
    """Return the command line of `sam local COMMAND` on a built template.

    The image is pulled when it is not there, and not compared with the registry's every time.
    """
    return [
        *(_SAM, "local", command, *arguments),
        *(f"--template={template}", "--skip-pull-image", *_options()),
    ]


def _options() -> tuple[str, ...]:
    return f"--parameter-overrides=Architecture={architecture()}", f"--region={REGION}"
