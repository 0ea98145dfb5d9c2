"""What a month costs at a steady load, from what an invocation was measured to do.

    python -m benchmarks.costs

AWS's list prices for us-east-1, arm64, without the free tier. Storage for 90 days.
"""

from __future__ import annotations

from collections.abc import Iterable

SECONDS = 30 * 24 * 3600
RATES = (1, 100, 10_000)

# Dollars.
PUT = 0.005 / 1000
GET = 0.0004 / 1000
INVOCATION = 0.20 / 1e6
GB_SECOND = 0.0000133334
API_REQUEST = ((300e6, 1.00 / 1e6), (float("inf"), 0.90 / 1e6))
"""HTTP API: dollars a request, by how many a month cost that."""
LOGS_GB = ((10e3, 0.50), (20e3, 0.25), (20e3, 0.10), (float("inf"), 0.05))
"""Lambda's output to CloudWatch Logs, by GB a month."""
ACCESS_LOG_GB = LOGS_GB
S3_GB_MONTH = 0.023
SQS_REQUEST = 0.40 / 1e6
FIXED = 14 * 0.10 + 3.00 + 9 * 0.30
"""Alarms, a dashboard, custom metrics."""

# Measured, but for the time of a put on AWS, which is taken to be 20 ms.
MEMORY_GB = 0.5
INVOCATION_SECONDS = 0.025
STDOUT_BYTES = 1000
"""START, END and REPORT, and a blob of metrics."""
ACCESS_LOG_BYTES = 650
RECORD_BYTES = 600
"""Of a request's object: two or three records."""


def month(rate: float) -> dict[str, float]:
    """Return dollars by item, for ``rate`` requests a second that log and have tasks."""
    requests = rate * SECONDS
    return {
        "API Gateway": _tiered(requests, API_REQUEST),
        "Lambda": requests * (INVOCATION + INVOCATION_SECONDS * MEMORY_GB * GB_SECOND),
        "S3 PUTs": requests * PUT,
        "S3 storage, 90 days": 3 * requests * RECORD_BYTES / 1e9 * S3_GB_MONTH,
        "CloudWatch Logs": _tiered(requests * STDOUT_BYTES / 1e9, LOGS_GB)
        + _tiered(requests * ACCESS_LOG_BYTES / 1e9, ACCESS_LOG_GB),
        "alarms, dashboard, metrics": FIXED,
    }


def durable() -> float:
    """Return dollars for a million durable tasks: ledger, queue, worker; without their own work."""
    puts = 4  # task, claim, result, the worker's log
    gets = 3
    messages = 3  # sent, received, deleted
    worker = INVOCATION + 0.1 * MEMORY_GB * GB_SECOND
    return 1e6 * (puts * PUT + gets * GET + messages * SQS_REQUEST + worker)


def rows() -> Iterable[str]:
    """Yield the table of the README."""
    months = [month(rate) for rate in RATES]
    yield "| a month, in dollars | " + " | ".join(f"{rate:,}/s" for rate in RATES) + " |"
    yield "|---|" + "---:|" * len(RATES)
    for item in months[0]:
        yield f"| {item} | " + " | ".join(_dollars(each[item]) for each in months) + " |"
    yield "| **together** | " + " | ".join(_dollars(sum(m.values())) for m in months) + " |"


def _dollars(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.2f}"  # noqa: PLR2004


def _tiered(amount: float, tiers: Iterable[tuple[float, float]]) -> float:
    total = 0.0
    for size, price in tiers:
        here = min(amount, size)
        total += here * price
        amount -= here
    return total


if __name__ == "__main__":
    print("\n".join(rows()))
    print(f"\nA million durable tasks: {_dollars(durable())}")
