"""How long a client waits for a response that has tasks behind it.

    python -m benchmarks.respond_first [--seconds 2] [--requests 5]

Each function runs in the local Lambda runtime: the real runtime client, frozen between invocations.
What counts is a request with an async and a plain task, less the median of a request without tasks
to the same function.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import events
from local.aws import MotoServer
from local.clients import client_for
from local.runtime import Runtime

ROOT = Path(__file__).parent.parent
BUCKET = "benchmark"
FUNCTIONS = {
    "Mangum alone": ("benchmarks.peers.mangum_alone", {}),
    "afterword, after-tasks": ("benchmarks.peers.afterword", {"RESPOND": "after-tasks"}),
    "afterword, before-tasks": ("benchmarks.peers.afterword", {"RESPOND": "before-tasks"}),
}


def main() -> int:
    """Print a table; return 1 when respond-first waits for its tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each of the two tasks")
    parser.add_argument("--requests", type=int, default=5, help="of each kind")
    options = parser.parse_args()
    print(f"two tasks of {options.seconds} s each; medians of {options.requests}, milliseconds")
    print("| function | without tasks | with tasks | difference | to the end of the tasks |")
    print("|---|---|---|---|---|")
    differences = {}
    with MotoServer() as moto:
        region = moto.environ["AWS_REGION"]
        location: Any = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        if region == "us-east-1":  # where S3 takes no location
            location = {}
        s3 = client_for("s3", moto.environ)
        s3.create_bucket(Bucket=BUCKET, **location)
        for name, (handler, environ) in FUNCTIONS.items():
            with function(handler, moto.environ | environ) as runtime:
                without, _ = measure(runtime, event("/health"), options.requests)
                query = f"seconds={options.seconds}"
                waited, ended = measure(runtime, event("/tasks", query), options.requests)
            differences[name] = waited - without
            print(
                f"| {name} | {without:.1f} | {waited:.1f} | {waited - without:.1f} | {ended:.1f} |"
            )
    return int(differences["afterword, before-tasks"] > 50)  # noqa: PLR2004 - milliseconds


@contextmanager
def function(handler: str, environ: dict[str, str]) -> Iterator[Runtime]:
    """Start a function and pay for its cold start."""
    environ = environ | {"BUCKET": BUCKET, "PYTHONPATH": str(ROOT)}
    with Runtime(handler, environ, cwd=ROOT) as runtime:
        runtime.start(event("/health")).end(60)
        yield runtime


def event(path: str, query: str = "") -> Any:
    """Return an event of the HTTP API's."""
    made = events.load("http-api-health", rawQueryString=query)
    made["rawPath"] = made["requestContext"]["http"]["path"] = path
    return made


def measure(runtime: Runtime, payload: Any, requests: int) -> tuple[float, float]:
    """Return medians, in milliseconds: to the response, to the end of the invocation."""
    waited, ended = [], []
    for _ in range(requests):
        began = time.perf_counter()
        invocation = runtime.start(payload)
        assert invocation.response(60)["statusCode"] == 200  # noqa: PLR2004, S101
        waited.append(time.perf_counter() - began)
        assert invocation.end(60).status == "ok"  # noqa: S101
        ended.append(time.perf_counter() - began)
    return statistics.median(waited) * 1000, statistics.median(ended) * 1000


if __name__ == "__main__":
    sys.exit(main())
