"""The garbage collector, kept from what is imported at init. Imported before all else of size.

It would look through that again and again, and it is there to stay.
"""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack

_imported = ExitStack()


def done() -> None:
    """Collect garbage from now on, and not among what is there: all is imported.

    What runs next is the application's, and may make any amount of garbage.
    """
    _imported.close()


# Elsewhere than in a function, nobody would say when it is done.
if "awslambdaric" in sys.modules:
    gc.disable()
    _imported.callback(gc.enable)
    _imported.callback(gc.freeze)
