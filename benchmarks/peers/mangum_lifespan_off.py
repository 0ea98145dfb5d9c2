"""Mangum without lifespan events on every request."""

from __future__ import annotations

from mangum import Mangum

from benchmarks.peers.application import app

handler = Mangum(app, lifespan="off")
