"""What a first answer does not need, put off. Imported first by what serves the application.

FastAPI's models of OpenAPI take a third of its import, and serve /openapi.json alone. Pydantic
builds a model's validator when it is first used if its configuration says ``defer_build``, and a
configuration is inherited: so they are imported while BaseModel's says so, and while to rebuild a
model, which some of them ask for, is left to its first use too. Models of the application are built
at init as ever, where a mistake in one is seen.

With them FastAPI imports what validates addresses, which only a request with an address needs, and
for the application's routes Pydantic's first version, which only an application that has models of
it needs. What is imported with FastAPI imports some of the standard library that few requests use.
"""

from __future__ import annotations

import sys
from typing import Any

from handler import garbage  # noqa: F401 - first, since Pydantic is much of what is imported

# isort: split
from pydantic import BaseModel

from handler import lazily, pydantic_v1

LAZY = ("email_validator", "bz2", "calendar", "csv", "gzip", "html", "locale", "lzma")
"""What is imported whole (not ``from`` it) by what is imported at init, and not used there."""

_rebuild = BaseModel.__dict__["model_rebuild"]


def _rebuild_when_used(model: type[BaseModel], /, **how: Any) -> bool | None:
    # Pydantic itself, when a model is used, says how.
    return _rebuild.__get__(None, model)(**how) if how else None


if "fastapi" not in sys.modules:
    for name in LAZY:
        lazily.load(name)
    pydantic_v1.put_off()
    BaseModel.model_config["defer_build"] = True
    BaseModel.model_rebuild = classmethod(_rebuild_when_used)  # type: ignore[method-assign,assignment]
    try:
        import fastapi.openapi.models  # noqa: F401
    finally:
        BaseModel.model_rebuild = _rebuild  # type: ignore[method-assign]
        del BaseModel.model_config["defer_build"]
