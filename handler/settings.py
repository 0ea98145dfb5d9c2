"""The settings of one execution environment, read once from its environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from app import mail
from handler.credentials import ContainerCredentials
from handler.errors import SettingsError

SHORTEST_RESERVE, LONGEST_RESERVE = 0.1, 60.0
LARGEST_EVENT_BYTES = 6 * 1024 * 1024
"""Lambda's limit for an event, with all that is in it besides the body."""
RESPOND = ("after-tasks", "before-tasks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What can be set from outside. Seconds are seconds, prefixes end as they are to be used."""

    bucket: str
    respond: Literal["after-tasks", "before-tasks"] = "after-tasks"
    deadline_reserve: float = 1.0
    max_body: int = LARGEST_EVENT_BYTES
    log_prefix: str = "log/"
    compacted_prefix: str = "compacted/"
    service: str = "afterword"
    metrics_namespace: str = "afterword"
    region: str | None = None
    smtp_url: str | None = None
    queue_url: str | None = None
    dead_letter_queue_url: str | None = None
    backoff: float = 5.0
    runtime_api: str | None = None
    managed_instances: bool = False
    snapshot: bool = False
    """Whether init ends with a snapshot, from which many environments start, much later."""
    container_credentials: ContainerCredentials | None = None
    s3_endpoint: str | None = None
    """An endpoint other than AWS's own. The S3 client reads region and credentials by itself."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; raise SettingsError naming the variable and its value."""
        respond = environ.get("RESPOND") or "after-tasks"
        if respond not in RESPOND:
            raise SettingsError(f"RESPOND is {respond!r}; it must be one of {', '.join(RESPOND)}")
        initialization = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        log_prefix = _prefix("LOG_PREFIX", environ, "log/")
        return cls(
            bucket=_bucket(environ.get("BUCKET")),
            respond=cast("Literal['after-tasks', 'before-tasks']", respond),
            deadline_reserve=_seconds("DEADLINE_RESERVE_SECONDS", environ, 1.0),
            max_body=_bytes("MAX_BODY_BYTES", environ, LARGEST_EVENT_BYTES),
            log_prefix=log_prefix,
            compacted_prefix=_apart(log_prefix, _prefix("COMPACTED_PREFIX", environ, "compacted/")),
            service=environ.get("POWERTOOLS_SERVICE_NAME") or "afterword",
            metrics_namespace=environ.get("POWERTOOLS_METRICS_NAMESPACE") or "afterword",
            region=environ.get("AWS_REGION"),
            smtp_url=_smtp_url(environ.get("SMTP_URL")),
            queue_url=environ.get("QUEUE_URL"),
            dead_letter_queue_url=environ.get("DEAD_LETTER_QUEUE_URL"),
            backoff=_seconds("RETRY_BACKOFF_SECONDS", environ, 5.0),
            runtime_api=environ.get("AWS_LAMBDA_RUNTIME_API"),
            managed_instances=initialization == "lambda-managed-instances",
            snapshot=initialization == "snap-start",
            container_credentials=_container_credentials(environ),
            s3_endpoint=environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
        )


def _bucket(value: str | None) -> str:
    if not value:
        raise SettingsError(f"BUCKET is {value!r}; it must name the S3 bucket for the log")
    return value


def _smtp_url(value: str | None) -> str | None:
    if not value:
        return None
    try:
        mail.parse(value)
    except ValueError as error:
        # Not the value itself: it may hold a password.
        raise SettingsError(f"SMTP_URL cannot be used: {error}") from error
    return value


def _container_credentials(environ: Mapping[str, str]) -> ContainerCredentials | None:
    uri = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    token = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    # In the order of every AWS SDK: the variables go first.
    if not uri or not token or environ.get("AWS_ACCESS_KEY_ID"):
        return None
    return ContainerCredentials(uri, token)


def _seconds(name: str, environ: Mapping[str, str], default: float) -> float:
    value = environ.get(name) or str(default)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not SHORTEST_RESERVE <= seconds <= LONGEST_RESERVE:
        raise SettingsError(
            f"{name} is {value!r}; it must be a number of seconds"
            f" from {SHORTEST_RESERVE} to {LONGEST_RESERVE}"
        )
    return seconds


def _bytes(name: str, environ: Mapping[str, str], default: int) -> int:
    value = environ.get(name) or str(default)
    if not value.isdecimal() or not 0 < int(value) <= default:
        raise SettingsError(
            f"{name} is {value!r}; it must be a number of bytes from 1 to {default}"
        )
    return int(value)


def _prefix(name: str, environ: Mapping[str, str], default: str) -> str:
    value = environ.get(name) or default
    if not value.endswith("/") or value.startswith("/") or "//" in value:
        raise SettingsError(
            f"{name} is {value!r}; it must end with one slash and not begin with one, as in log/"
        )
    return value


def _apart(log: str, compacted: str) -> str:
    # Or whoever lists the one would find the other in it.
    if compacted.startswith(log) or log.startswith(compacted):
        raise SettingsError(
            f"COMPACTED_PREFIX is {compacted!r} and LOG_PREFIX {log!r};"
            " neither must begin with the other"
        )
    return compacted
