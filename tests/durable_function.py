"""The functions, API and worker, of ``durables.py``; for tests through the real runtime client."""

from __future__ import annotations

from typing import Any

import durables

from handler import api, worker


def __getattr__(name: str) -> Any:
    if name not in ("handler", "work"):
        raise AttributeError(name)
    make = worker.make_handler if name == "work" else api.make_handler
    made = globals()[name] = make(durables.app)
    return made
