"""Where a log is: a bucket of AWS's, of a stack's, or of `make run`."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider

from handler.settings import Settings
from handler.store import Store

if TYPE_CHECKING:
    from obstore.store import S3Config

RUNS = Path(__file__).parent.parent / ".run"
"""Where each `make run` leaves word of itself, by its port, for as long as it runs."""
_SETTINGS = (
    "LOG_PREFIX",
    "COMPACTED_PREFIX",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
)


class NoSuchLog(Exception):
    """What was asked for is not there, or may not be read. The message is for a person."""


@dataclass(frozen=True)
class Place:
    """A bucket, and how to connect to it."""

    store: Store
    settings: Settings
    name: str

    @property
    def address(self) -> str:
        """The log's address, for a person."""
        return f"s3://{self.settings.bucket}/{self.settings.log_prefix}"


def local(environ: Mapping[str, str]) -> Place:
    """Return the log of a function that runs on this machine, whose variables these are."""
    settings = Settings.from_environ(environ)
    # All of it: nothing is looked up in this process' own environment, which is for the real AWS.
    config: S3Config = {
        "access_key_id": environ["AWS_ACCESS_KEY_ID"],
        "secret_access_key": environ["AWS_SECRET_ACCESS_KEY"],
        "region": environ["AWS_REGION"],
        # It goes before `endpoint`, and would be read from the environment.
        "aws_endpoint_url_s3": environ["AWS_ENDPOINT_URL"],
    }
    return Place(Store(settings, config=config), settings, "this machine")


def of_run(port: int) -> Place:
    """Return the log of the `make run` that listens on a port; raises NoSuchLog."""
    if port not in runs():
        others = f"; there is one on {', '.join(map(str, runs()))}" if runs() else ""
        raise NoSuchLog(f"no `make run` is running on port {port}{others}")
    return local(_left(port))


def runs() -> list[int]:
    """Return the ports of every `make run` that is running."""
    ports = sorted(int(path.stem) for path in RUNS.glob("*.json"))
    return [port for port in ports if _listens(_left(port)["AWS_ENDPOINT_URL"])]


def _left(port: int) -> dict[str, str]:
    environ: dict[str, str] = json.loads((RUNS / f"{port}.json").read_text())
    return environ


def _listens(endpoint: str) -> bool:
    # One that was killed outright has left its word behind.
    address = urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname or "", address.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def announced(port: int, environ: Mapping[str, str]) -> Iterator[None]:
    """Leave word of a `make run` for as long as the `with` block lasts."""
    path = RUNS / f"{port}.json"
    RUNS.mkdir(exist_ok=True)
    written = path.with_suffix(f".{os.getpid()}")
    written.write_text(json.dumps(dict(environ)))
    written.replace(path)  # nobody reads half of it
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def of_stack(name: str) -> Place:
    """Return the log of a deployed stack, by its output BucketName; raises NoSuchLog."""
    with _said_plainly(f"stack {name}"):
        stacks = _session().client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    for output in stacks[0].get("Outputs", []):
        if output["OutputKey"] == "BucketName":
            return of_bucket(output["OutputValue"])
    raise NoSuchLog(f"stack {name} has no output BucketName: is it a stack of this template?")


def of_bucket(bucket: str) -> Place:
    """Return the log in a bucket, with the AWS settings that any SDK would use."""
    environ = {name: os.environ[name] for name in _SETTINGS if name in os.environ}
    settings = Settings.from_environ({**environ, "BUCKET": bucket})
    with _said_plainly(f"bucket {bucket}"):
        session = _session()
        s3: Any = session.client("s3", region_name=session.region_name or "us-east-1")
        region = _region(s3, bucket) or session.region_name
        credentials = Boto3CredentialProvider(session)
    store = Store(settings, config={"region": region or "us-east-1"}, credentials=credentials)
    return Place(store, settings, bucket)


def _session() -> boto3.Session:
    return boto3.Session(region_name=os.environ.get("AWS_REGION"))


def _region(s3: Any, bucket: str) -> str | None:
    region: str | None = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    return region


@contextlib.contextmanager
def _said_plainly(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if code in {"404", "NoSuchBucket"}:
            raise NoSuchLog(f"{what} does not exist, for the credentials in use") from error
        if code in {"403", "AccessDenied"}:
            raise NoSuchLog(f"{what}: access denied, with the credentials in use") from error
        raise NoSuchLog(f"{what}: {message} ({code})") from error
    except (BotoCoreError, ValueError) as error:
        raise NoSuchLog(f"{what}: {error}") from error
