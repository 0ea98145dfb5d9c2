"""What is compared: functions that answer the same event with the same body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    """One function: its name in the tables, its handler, what its environment adds."""

    name: str
    handler: str
    environ: Mapping[str, str] = field(default_factory=dict)


def _peer(name: str, module: str, **environ: str) -> Peer:
    return Peer(name, f"benchmarks.peers.{module}.handler", environ)


BARE = _peer("bare function", "bare")
POWERTOOLS = _peer("Powertools HTTP resolver", "powertools")
MANGUM = _peer("FastAPI + Mangum", "mangum_defaults")
LIFESPAN_OFF = _peer("FastAPI + Mangum, lifespan off", "mangum_lifespan_off")
DIRECT = _peer("FastAPI alone, on a loop that is kept", "direct")
CLIENTS = _peer("... + boto3 S3 and SQS clients", "mangum_clients")
OBSERVED = _peer("... + Powertools Logger, Tracer, Metrics", "mangum_observed")
PUT_PER_RECORD = _peer("FastAPI + Mangum, put_object per record", "mangum_put_per_record")
CLIENT_PER_RECORD = _peer(
    "FastAPI + Mangum, client and put_object per record", "mangum_client_per_record"
)
WEB_ADAPTER = _peer("FastAPI + uvicorn, forwarded to over HTTP", "web_adapter")
SAME_APP = _peer("afterword with the peers' application", "afterword")
SAME_APP_BEFORE = _peer(
    "afterword with the peers' application, before-tasks", "afterword", RESPOND="before-tasks"
)
AFTER = Peer("afterword", "handler.api.handler", {})
BEFORE = Peer("afterword, before-tasks", "handler.api.handler", {"RESPOND": "before-tasks"})

ALL = (
    BARE,
    POWERTOOLS,
    MANGUM,
    LIFESPAN_OFF,
    DIRECT,
    CLIENTS,
    OBSERVED,
    PUT_PER_RECORD,
    CLIENT_PER_RECORD,
    WEB_ADAPTER,
    SAME_APP,
    SAME_APP_BEFORE,
    AFTER,
    BEFORE,
)

PUT_BY_BOTO3 = _peer("boto3 put_object", "put_by_boto3")
PUT_BY_STORE = _peer("afterword's store", "put_by_store")
