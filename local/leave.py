"""The end of a process that has used obstore."""

import contextlib
import os
import sys
from typing import NoReturn


def leave(status: int) -> NoReturn:
    """End the process, without taking the interpreter down piece by piece.

    A thread of obstore's may still let go of an object of the last answer. When it finds the
    interpreter half gone, the process aborts.
    """
    for stream in sys.stdout, sys.stderr:
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(status)
