"""A template as it is deployed: transformed, with what was chosen for its parameters filled in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from conftest import REGION, ROOT
from samtranslator.yaml_helper import yaml_parse

from local.template import transform

TEMPLATE = ROOT / "template.yaml"
ACCOUNT = "123456789012"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/shop/1b2c-3d",
    "AWS::StackName": "shop",
    "AWS::URLSuffix": "amazonaws.com",
}

# By type; what is in braces is the physical id, or its last part for a queue, whose id is its URL.
ARNS = {
    "AWS::IAM::Role": "arn:aws:iam::{account}:role/{id}",
    "AWS::Lambda::Function": "arn:aws:lambda:{region}:{account}:function:{id}",
    "AWS::Logs::LogGroup": "arn:aws:logs:{region}:{account}:log-group:{id}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{id}",
    "AWS::SQS::Queue": "arn:aws:sqs:{region}:{account}:{id}",
}

Document = dict[str, Any]

_NOTHING = object()
"""What ``AWS::NoValue`` stands for: the property is not there."""


class Deployment:
    """One template with its parameters.

    ``physical`` has the ids of resources that were really made; others are called by their logical
    id. With ``conditions`` every condition is what it says, whatever the parameters are.
    """

    def __init__(
        self,
        path: Path = TEMPLATE,
        *,
        parameters: Mapping[str, Any] | None = None,
        physical: Mapping[str, str] | None = None,
        conditions: bool | None = None,
        region: str = REGION,
    ) -> None:
        session = boto3.Session("none", "none", region_name=region)
        self._document: Document = transform(path, session)
        declared = self._document.get("Parameters", {})
        defaults = {name: each["Default"] for name, each in declared.items() if "Default" in each}
        pseudo = PSEUDO_PARAMETERS | {"AWS::Region": region, "AWS::NoValue": _NOTHING}
        self._values = {**pseudo, **defaults, **(parameters or {})}
        self._physical = physical or {}
        self._conditions = conditions

    def resources(self, kind: str | None = None) -> dict[str, Document]:
        """Return the properties of the resources that are made, of one type, by logical id."""
        found = {
            name: self.resolve(resource.get("Properties", {}))
            for name, resource in self._document["Resources"].items()
            if kind in (None, resource["Type"]) and self._is_made(resource)
        }
        assert found, kind
        return found

    def type_of(self, name: str) -> str:
        """Return a resource's type."""
        kind: str = self._document["Resources"][name]["Type"]
        return kind

    def resolve(self, value: Any) -> Any:
        """Return a value with every intrinsic function replaced by its result."""
        if isinstance(value, list):
            items = (self.resolve(item) for item in value)
            return [item for item in items if item is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in self._functions:
                return self._functions[name](argument)
            assert not name.startswith("Fn::"), f"{name} is not known here"
        pairs = ((key, self.resolve(item)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not _NOTHING}

    @property
    def _functions(self) -> dict[str, Callable[[Any], Any]]:
        return {
            "Ref": self._ref,
            "Fn::GetAtt": lambda a: self._attribute(*(a.split(".", 1) if isinstance(a, str) else a)),
            "Fn::Sub": self._substitute,
            "Fn::Join": lambda a: a[0].join(str(each) for each in self.resolve(a[1])),
            "Fn::Select": lambda a: self.resolve(a[1])[int(a[0])],
            "Fn::Split": lambda a: self.resolve(a[1]).split(a[0]),
            "Fn::FindInMap": self._find,
            "Fn::If": lambda a: self.resolve(a[1] if self._holds(a[0]) else a[2]),
            "Fn::ToJsonString": self.resolve,
        }

    def _ref(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        assert name in self._document["Resources"], name
        return self._physical.get(name, name)

    def _attribute(self, name: str, attribute: str) -> str:
        physical = str(self._ref(name)).rpartition("/")[2]
        if attribute == "Arn":
            pattern = ARNS[self.type_of(name)]
            return pattern.format(id=physical, region=self._values["AWS::Region"], account=ACCOUNT)
        return physical if attribute.endswith("Name") else f"{name}.{attribute}"

    def _substitute(self, argument: Any) -> str:
        text, values = (argument, {}) if isinstance(argument, str) else argument

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in values:
                return str(self.resolve(values[name]))
            return str(self._attribute(*name.split(".", 1)) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^!}]+)\}", value, text)

    def _find(self, argument: list[Any]) -> Any:
        mapping, first, second = (self.resolve(each) for each in argument)
        return self._document["Mappings"][mapping][str(first)][second]

    def _is_made(self, resource: Document) -> bool:
        return "Condition" not in resource or self._holds(resource["Condition"])

    def _holds(self, condition: str) -> bool:
        if self._conditions is not None:
            return self._conditions
        return self._evaluate(self._document["Conditions"][condition])

    def _evaluate(self, expression: Document) -> bool:
        ((name, argument),) = expression.items()
        if name == "Condition":
            return self._holds(argument)
        if name == "Fn::Equals":
            first, second = (str(self.resolve(each)) for each in argument)
            return first == second
        results = [self._evaluate(each) for each in argument]
        return {"Fn::Not": not results[0], "Fn::And": all(results), "Fn::Or": any(results)}[name]


def written(path: Path = TEMPLATE) -> Document:
    """Return a template as it is written, with long intrinsic functions."""
    document: Document = yaml_parse(path.read_text(encoding="utf-8"))
    return document


def walk(value: Any) -> Iterator[Any]:
    """Yield a value and everything in it."""
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)
