"""The deployed application, with the tests' durable functions beside its own.

Those fail when they are to, which none of the application's does.
"""

from __future__ import annotations

from typing import Any

import durables

from app.main import app
from handler import api, worker

app.include_router(durables.app.router)
durables.failing.add("always")


def __getattr__(name: str) -> Any:
    if name not in ("handler", "work"):
        raise AttributeError(name)
    make = worker.make_handler if name == "work" else api.make_handler
    made = globals()[name] = make(app)
    return made
