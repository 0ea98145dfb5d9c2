"""References to resources, replaced by their names and ARNs: what a Deployment leaves open."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from deployment import REGION, Deployment

ACCOUNT = "123456789012"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/shop/0d990263-018e",
    "AWS::StackName": "shop",
}
ARNS = {
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{name}",
}


class Resolver:
    """Resolves references. ``physical`` has the physical ids of resources that were really made.

    Others are named as they are in the template.
    """

    def __init__(
        self, deployment: Deployment, physical: Mapping[str, str] | None = None, **pseudo: str
    ) -> None:
        self._types = {name: each["Type"] for name, each in deployment.resources.items()}
        self._physical = physical or {}
        changed = {f"AWS::{name}": value for name, value in pseudo.items()}
        self._values = {**PSEUDO_PARAMETERS, **changed, **deployment.parameters}
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": lambda path: self._attribute(*path),
            "Fn::Sub": self._substitute,
            "Fn::Select": lambda a: self(a[1])[a[0]],
            "Fn::Split": lambda a: self(a[1]).split(a[0]),
            "Fn::ToJsonString": self.__call__,
        }

    def __call__(self, value: Any) -> Any:
        """Return a value with each reference replaced. Raises KeyError for what is not there."""
        if isinstance(value, list):
            return [self(item) for item in value]
        if not isinstance(value, dict):
            return value
        (name, argument), *others = value.items() or [("", None)]
        if not others and (name == "Ref" or name.startswith("Fn::")):
            return self._functions[name](argument)
        return {key: self(item) for key, item in value.items()}

    def _ref(self, name: str) -> str:
        if name in self._values:
            return self._values[name]
        return self._physical.get(name, name) if self._types[name] else name

    def _attribute(self, name: str, attribute: str) -> str:
        # A queue's physical id is its URL.
        last = self._ref(name).rpartition("/")[2]
        if attribute != "Arn":
            assert attribute.endswith("Name"), attribute
            return last
        region = self._values["AWS::Region"]
        return ARNS[self._types[name]].format(region=region, account=ACCOUNT, name=last)

    def _substitute(self, argument: Any) -> str:
        text, values = argument if isinstance(argument, list) else (argument, {})

        def value(match: re.Match[str]) -> str:
            name, _, attribute = match[1].partition(".")
            if name in values:
                return str(self(values[name]))
            return self._attribute(name, attribute) if attribute else self._ref(name)

        return re.sub(r"\$\{([\w:.]+)\}", value, text)
