"""What one process of a function is doing: init, an invocation, or nothing.

"Lambda ends the Init phase when the runtime and all extensions signal that they are ready by
sending a Next API request", and the Invoke phase likewise (Lambda developer guide,
"Understanding the Lambda execution environment lifecycle"). This is that rule.
"""

import asyncio
from collections.abc import Callable

from local.invocation import FunctionError, Invocation

Deliver = Callable[[Invocation], None]


class Participant:
    """The runtime, or an extension: something that asks for its next event."""

    def __init__(self, name: str, *, invoked: bool) -> None:
        """Take note whether it has subscribed to INVOKE (`invoked`), as the runtime has."""
        self.name = name
        self.invoked = invoked
        self.deliver: Deliver | None = None


class Phases:
    """The phases of one process; `phase` is done when the present one has ended, or failed."""

    def __init__(self) -> None:
        self.runtime = Participant("runtime", invoked=True)
        self.extensions: dict[str, Participant] = {}
        self.invocation: Invocation | None = None
        self.phase: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.registration_open = True

    def ask_for_next(self, participant: Participant, deliver: Deliver) -> None:
        """`participant` is done with the present phase; `deliver` gets the next invocation."""
        participant.deliver = deliver
        if participant is self.runtime:
            self.registration_open = False
        if all(each.deliver for each in self._participants()) and not self.phase.done():
            self.invocation = None
            self.phase.set_result(None)

    def invoke(self, invocation: Invocation) -> None:
        """Begin the next phase: hand `invocation` to the runtime and to those subscribed."""
        self.invocation = invocation
        self.phase = asyncio.get_running_loop().create_future()
        for participant in self._participants():
            if participant.invoked and participant.deliver:
                deliver, participant.deliver = participant.deliver, None
                deliver(invocation)

    def fail(self, error: FunctionError) -> None:
        """End the present phase with `error`; no effect between phases."""
        if not self.phase.done():
            self.phase.set_exception(error)

    def _participants(self) -> list[Participant]:
        return [self.runtime, *self.extensions.values()]
