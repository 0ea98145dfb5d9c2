"""``pydantic.v1``, which FastAPI imports for one question whose answer is known without it.

FastAPI refuses annotations that are models of Pydantic's first version. To find them it imports
that version whole, a twentieth of a cold start and two megabytes, and takes from it the class that
they derive from. As long as nobody else has imported it, there is none that does.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

import pydantic

NAME = "pydantic.v1"
ASKING = "fastapi._compat"


class _Unimported(ModuleType):
    """What ``from pydantic import v1`` gives until an import names ``pydantic.v1`` itself.

    That import puts the module in this one's place. Whoever else finds this one, has it imported
    by whatever they take from it.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "BaseModel" and NAME not in sys.modules and _fastapi_asks():
            return _NobodysBase
        return getattr(importlib.import_module(NAME), name)


class _NobodysBase:
    pass


def _fastapi_asks() -> bool:
    frame = inspect.currentframe()
    asking = frame and frame.f_back and frame.f_back.f_back
    return asking is not None and asking.f_globals.get("__name__", "").startswith(ASKING)


def put_off() -> None:
    """Have ``pydantic.v1`` imported by those who use it, unless it has been."""
    if NAME not in sys.modules:
        pydantic.v1 = _Unimported(NAME)
