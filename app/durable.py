"""Durable tasks: functions that run outside of the request, at least once, with retries.

``@durable`` marks a function; ``background_tasks.add_task(function, ...)`` is all the calling code.
Where an acceptor is in the context, it takes the task before the response leaves; where there is
none, as under uvicorn, the function runs in the process like any other task.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, get_type_hints, overload

from app.names import name_of

Function = TypeVar("Function", bound=Callable[..., Any])

ATTEMPTS = 3
MOST_ATTEMPTS = 10
TAKEN_NAMES = ("self", "func")
"""Names that ``BackgroundTask`` takes for itself."""


class NotDurable(TypeError):
    """A function or an argument that cannot be carried to another process."""


class Acceptor(Protocol):
    """Takes the durable tasks of one request."""

    def next_id(self) -> str:
        """Return the id of the next task that is added, and use it up."""

    def reserve_id(self, task_id: str | None) -> str:
        """Return the id that the next task will have; it is ``task_id`` when that is given."""

    def announce(self) -> None:
        """Hold the response: a durable task was added, and is to be accepted before it leaves."""

    async def accept(self, submissions: Sequence[Submission]) -> None:
        """Take all of these tasks, or raise and take none."""


acceptor: ContextVar[Acceptor | None] = ContextVar("acceptor", default=None)
task_id: ContextVar[str | None] = ContextVar("task_id", default=None)
"""The id of the durable task that is running."""
registry: dict[str, Durable] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """A registered function. ``timeout`` in seconds bounds an attempt, besides the deadline."""

    name: str
    function: Callable[..., Any]
    timeout: float | None
    attempts: int
    when: Callable[[], bool]

    def encode(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, as JSON can hold them.

        Raises NotDurable naming the argument that does not fit its annotation or JSON.
        """
        try:
            bound = inspect.signature(self.function).bind(*arguments, **keywords).arguments
        except TypeError as error:
            raise NotDurable(f"{self.name}: {error}") from error
        return {name: self._encode(name, value) for name, value in bound.items()}

    def decode(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments as the function is called with them.

        Raises NotDurable when the function has changed and no longer takes them.
        """
        unknown = arguments.keys() - inspect.signature(self.function).parameters.keys()
        if unknown:
            raise NotDurable(f"{self.name} takes no argument {', '.join(sorted(unknown))}")
        return {name: self._decode(name, json.dumps(value)) for name, value in arguments.items()}

    def _decode(self, name: str, encoded: str) -> Any:
        return self._checked(name, lambda adapter: adapter.validate_json(encoded))

    def _encode(self, name: str, value: Any) -> Any:
        encoded = self._checked(
            name, lambda adapter: adapter.dump_python(adapter.validate_python(value), mode="json")
        )
        try:
            json.dumps(encoded, allow_nan=False)
        except ValueError as error:
            raise NotDurable(f"{self.name}: argument {name!r}: {error}") from error
        return encoded

    def _checked(self, name: str, use: Callable[[Any], Any]) -> Any:
        from pydantic import ValidationError  # noqa: PLC0415
        from pydantic_core import PydanticSerializationError  # noqa: PLC0415

        try:
            return use(_adapters(self.function)[name])
        except ValidationError as error:
            reason = "; ".join(each["msg"] for each in error.errors(include_url=False))
            raise NotDurable(f"{self.name}: argument {name!r}: {reason}") from error
        except PydanticSerializationError as error:
            raise NotDurable(f"{self.name}: argument {name!r}: {error}") from error


@dataclass(slots=True)
class Submission:
    """One durable task on its way to the ledger."""

    id: str
    durable: Durable
    arguments: dict[str, Any]
    accepted: bool = False


@overload
def durable(function: Function, /) -> Function: ...


@overload
def durable(
    *, timeout: float | None = None, attempts: int = ATTEMPTS, when: Callable[[], bool] = ...
) -> Callable[[Function], Function]: ...


def durable(
    function: Function | None = None,
    /,
    *,
    timeout: float | None = None,
    attempts: int = ATTEMPTS,
    when: Callable[[], bool] = lambda: True,
) -> Any:
    """Mark and register a function, plain or async, as durable.

    ``timeout`` (seconds) bounds each of at most ``attempts`` attempts. ``when`` says, each time the
    function is added as a task, whether that is to be durable; if not, it runs in the process.
    The arguments have to fit the function's annotations and JSON. Effects may happen more than
    once: an attempt can be cut off after its effect and before its record.

    Raises NotDurable for a function that a worker could not find or call, ValueError for a bad
    number.
    """
    if function is None:
        return functools.partial(durable, timeout=timeout, attempts=attempts, when=when)
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise ValueError(f"attempts is {attempts!r}; it must be from 1 to {MOST_ATTEMPTS}")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}; it must be a positive number of seconds")
    name = _registrable_name(function)
    made = Durable(name=name, function=function, timeout=timeout, attempts=attempts, when=when)
    registry[name] = made
    function.__durable__ = made  # type: ignore[attr-defined]
    return function


def _registrable_name(function: Callable[..., Any]) -> str:
    name = name_of(function)
    if "<" in name or not inspect.isfunction(function):
        raise NotDurable(f"{name}: a worker finds only functions at the top level of a module")
    if name in registry:
        raise NotDurable(f"{name} is registered already")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL) or (
            parameter.kind is parameter.VAR_KEYWORD or parameter.name in TAKEN_NAMES
        ):
            raise NotDurable(f"{name}: parameter {parameter.name!r} has to have a name of its own")
    return name


@functools.cache
def _adapters(function: Callable[..., Any]) -> dict[str, Any]:
    # Made with the first task: an adapter costs as much as a model.
    from pydantic import TypeAdapter  # noqa: PLC0415

    hints = get_type_hints(function, include_extras=True)
    return {
        name: TypeAdapter(hints.get(name, Any)) for name in inspect.signature(function).parameters
    }


def submit(
    function: Callable[..., Any], arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> Submission | None:
    """Return the submission of a durable task; None for any other, which runs in the process.

    Raises NotDurable as ``Durable.encode`` does, and for a partial of a durable function.
    """
    made: Durable | None = getattr(function, "__durable__", None)
    if made is None:
        if isinstance(function, functools.partial) and hasattr(function.func, "__durable__"):
            raise NotDurable(f"{name_of(function)}: give add_task the function and its arguments")
        return None
    encoded = made.encode(arguments, keywords)
    taker = acceptor.get()
    if taker is None or not made.when():
        return None
    taker.announce()
    return Submission(taker.next_id(), made, encoded)


def reserve_id(task_id: str | None = None) -> str:
    """Return the id that this request's next durable task will have, to name things after it."""
    taker = acceptor.get()
    return taker.reserve_id(task_id) if taker is not None else task_id or new_id()


def new_id() -> str:
    """Return a UUID of version 7: ids sort by time and cannot be guessed (RFC 9562)."""
    milliseconds = time.time_ns() // 1_000_000
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
