"""Mangum as its documentation shows it."""

from __future__ import annotations

from mangum import Mangum

from benchmarks.peers.application import app

handler = Mangum(app)
