"""The template as CloudFormation deploys it with chosen parameters, as far as it can be known."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
REGION = "eu-central-1"

Document = dict[str, Any]
_ABSENT = {"Ref": "AWS::NoValue"}


def written() -> Document:
    """Return the template as it is written."""
    document: Document = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return document


def transformed(parameters: Document | None = None) -> Document:
    """Return what the SAM translator makes of the template."""
    document = written()
    # `sam package` replaces the path by such an address; the translator takes nothing else.
    document["Globals"]["Function"]["CodeUri"] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        result: Document = transform(copy.deepcopy(document), parameters or {}, None)
    return result


class Deployment:
    """The resources and outputs that there are, with every condition decided.

    Raises AssertionError with the description of the rule that the parameters break.
    """

    def __init__(self, **parameters: str) -> None:
        document = transformed(parameters)
        self.parameters = {
            name: str(parameters.get(name, parameter["Default"]))
            for name, parameter in document["Parameters"].items()
        }
        unknown = parameters.keys() - self.parameters.keys()
        assert not unknown, unknown
        self._conditions: Document = document.get("Conditions", {})
        for rule in document.get("Rules", {}).values():
            if self._holds(rule["RuleCondition"]):
                for each in rule["Assertions"]:
                    assert self._holds(each["Assert"]), each["AssertDescription"]
        self.resources: Document = {
            name: self._decide(resource)
            for name, resource in document["Resources"].items()
            if self._is_there(resource)
        }
        self.outputs: Document = {
            name: self._decide(output)
            for name, output in document["Outputs"].items()
            if self._is_there(output)
        }

    def of_type(self, name: str) -> dict[str, Document]:
        """Return the properties of the resources of a type, by logical id."""
        return {
            key: value["Properties"]
            for key, value in self.resources.items()
            if value["Type"] == name
        }

    def _is_there(self, entry: Document) -> bool:
        return "Condition" not in entry or self._holds(self._conditions[entry["Condition"]])

    def _decide(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for item in value if (each := self._decide(item)) != _ABSENT]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            condition, there, otherwise = value["Fn::If"]
            return self._decide(there if self._holds(self._conditions[condition]) else otherwise)
        if value.keys() == {"Ref"} and value["Ref"] in self.parameters:
            return self.parameters[value["Ref"]]
        if "Fn::Split" in value:
            separator, text = value["Fn::Split"]
            decided = self._decide(text)
            return decided.split(separator) if isinstance(decided, str) else value
        decided = {key: self._decide(item) for key, item in value.items()}
        return {key: item for key, item in decided.items() if item != _ABSENT}

    def _holds(self, condition: Document) -> bool:
        ((function, operands),) = condition.items()
        if function == "Condition":
            return self._holds(self._conditions[operands])
        if function == "Fn::Equals":
            return bool(self._decide(operands[0]) == self._decide(operands[1]))
        if function == "Fn::Not":
            return not self._holds(operands[0])
        if function == "Fn::And":
            return all(map(self._holds, operands))
        if function == "Fn::Or":
            return any(map(self._holds, operands))
        assert function == "Fn::Contains", function
        return self._decide(operands[1]) in self._decide(operands[0])
