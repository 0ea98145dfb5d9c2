"""Modules that are loaded when something of them is used.

``importlib.util.LazyLoader`` would do, but for the import statement itself: it looks at a module's
``__spec__``, which is use enough for LazyLoader.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_lock = RLock()


class _Lazy(ModuleType):
    def __getattr__(self, name: str) -> Any:
        # Asked for what it does not have (yet).
        with _lock:
            if not self.__dict__.get("__loading__"):
                self.__dict__["__loading__"] = True
                assert self.__spec__ is not None  # noqa: S101
                assert self.__spec__.loader is not None  # noqa: S101
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:
                    del self.__dict__["__loading__"]
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
            # While it is being loaded by this thread it has what it has.
            return object.__getattribute__(self, name)


def load(name: str) -> None:
    """Have a module, if there is one of that name and it is not loaded, loaded when it is used."""
    if name in sys.modules or (spec := find_spec(name)) is None:
        return
    module = module_from_spec(spec)
    module.__class__ = _Lazy
    sys.modules[name] = module
