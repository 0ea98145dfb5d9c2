"""Which policies IAM asks for, call by call, and what a policy answers.

Only what this project's policies use is known; anything else is an error here, not a guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from proxy_s3 import Heard
from resolve import ACCOUNT

Statement = dict[str, Any]


@dataclass(frozen=True)
class Permission:
    """What a call needs: an action on a resource, in a context of condition keys."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Grant:
    """A part of a statement: one action on one resource, under one condition at most."""

    sid: str
    action: str
    resource: str
    conditions: tuple[tuple[str, str, str], ...]

    def covers(self, permission: Permission) -> bool:
        """Tell whether it grants a permission. A key that the request lacks meets no condition."""
        return (
            _like(self.action.lower(), permission.action.lower())
            and _like(self.resource, permission.resource)
            and all(
                key in permission.context and OPERATORS[operator](value, permission.context[key])
                for operator, key, value in self.conditions
            )
        )


def _like(pattern: str, text: str) -> bool:
    """Match with IAM's wildcards, in which ``*`` goes past slashes and colons."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


OPERATORS = {"StringLike": _like, "StringEquals": str.__eq__}


def grants(statements: Iterable[Statement]) -> Iterator[Grant]:
    """Take the statements of a role's policies apart. All of them have to allow."""
    for statement in statements:
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement
        assert statement["Effect"] == "Allow", statement
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                for conditions in _conditions(statement.get("Condition", {})):
                    yield Grant(statement["Sid"], action, resource, conditions)


def _conditions(condition: dict[str, Any]) -> Iterator[tuple[tuple[str, str, str], ...]]:
    """Yield a condition with each value of its one key by itself."""
    keys = [(operator, key) for operator, each in condition.items() for key in each]
    assert len(keys) < 2, f"several conditions at once are not known here: {keys}"
    if not keys:
        yield ()
    for operator, key in keys:
        for value in listed(condition[operator][key]):
            yield ((operator, key, value),)


def listed(value: Any) -> list[Any]:
    """Return an IAM element, which may be a lone value, as a list."""
    return value if isinstance(value, list) else [value]


def needed(heard: Heard, region: str) -> Iterator[Permission]:
    """Yield the permissions that a request to S3 or SQS needs."""
    target = heard.headers.get("x-amz-target")
    return _sqs(heard, target, region) if target else _s3(heard)


def _sqs(heard: Heard, target: str, region: str) -> Iterator[Permission]:
    service, _, action = target.partition(".")
    assert service == "AmazonSQS", target
    queue = json.loads(heard.body)["QueueUrl"].rpartition("/")[2]
    yield Permission(f"sqs:{action}", f"arn:aws:sqs:{region}:{ACCOUNT}:{queue}")


def _s3(heard: Heard) -> Iterator[Permission]:
    # "Required permissions for Amazon S3 API operations" in the S3 user guide.
    url = urlsplit(heard.path)
    query = parse_qs(url.query, keep_blank_values=True)
    bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if (heard.method, key, query.get("list-type")) == ("GET", "", ["2"]):
        yield Permission("s3:ListBucket", arn, {"s3:prefix": query.get("prefix", [""])[0]})
        return
    if (heard.method, key, *query) == ("POST", "", "delete"):
        # DeleteObjects, which obstore uses for one object too.
        for each in re.findall(r"<Key>(.*?)</Key>", heard.body.decode()):
            yield Permission("s3:DeleteObject", f"{arn}/{unescape(each)}")
        return
    assert key, f"what it needs is not known here: {heard}"
    unknown = query.keys() - {"x-id", *(name for name in query if name.startswith("X-Amz-"))}
    assert not unknown, f"what {unknown} needs is not known here: {heard}"
    actions = {
        "GET": "GetObject",
        "HEAD": "GetObject",
        "PUT": "PutObject",
        "DELETE": "DeleteObject",
    }
    yield Permission(f"s3:{actions[heard.method]}", f"{arn}/{key}")
    if "if-match" in heard.headers:
        # A write on condition of what there is tells what there is.
        yield Permission("s3:GetObject", f"{arn}/{key}")
    if heard.status == 404 and heard.method in ("GET", "HEAD"):
        # Without it the answer is 403: "GetObject" in the S3 API reference.
        yield Permission("s3:ListBucket", arn, {"s3:prefix": key})
