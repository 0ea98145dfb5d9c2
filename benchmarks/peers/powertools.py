"""Powertools' own router for HTTP APIs."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

app = APIGatewayHttpResolver()


@app.get("/health")
def health() -> dict[str, str]:
    """Say that the application answers."""
    return {"status": "ok"}


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer."""
    return app.resolve(event, context)
