"""One orderly end, however often and by whatever signal it is asked for."""

import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_signal(act: Callable[[], object]) -> None:
    """Have the first SIGINT, SIGTERM or SIGHUP call `act`, and those that follow do nothing."""
    asked = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        # What ends everything must not be ended half-way, however often Ctrl-C is pressed. (Not by
        # SIG_IGN: of a signal that has come meanwhile Python then complains with a traceback.)
        nonlocal asked
        if not asked:
            asked = True
            act()

    for number in _SIGNALS:
        signal.signal(number, handle)
