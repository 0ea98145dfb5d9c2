"""The tests' function, whose environment is built with the first invocation: after init."""

from typing import Any

import function


def handler(event: Any, context: Any) -> Any:
    """Make the function's handler late."""
    return function.handler(event, context)
