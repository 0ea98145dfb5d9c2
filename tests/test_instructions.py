"""The warm path stays short: counted in instructions, which no load on the machine changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import instructions, peers
from benchmarks.peers import Peer

# Of FastAPI + Mangum with lifespan off, for the same application and the same request. When the
# path gets shorter, lower it: it is there to notice when the path gets longer.
LIMIT = 0.98


def ratio(count: Callable[[Peer], float]) -> float:
    """Count both, at the same time, and return ours as a multiple of Mangum's."""
    with ThreadPoolExecutor() as pool:
        ours, mangum = pool.map(count, (peers.SAME_APP, peers.LIFESPAN_OFF))
    return ours / mangum


def test_a_warm_invocation_executes_little_bytecode() -> None:
    """A request without tasks costs no more Python than the limit says."""
    assert ratio(instructions.bytecode) < LIMIT


def test_a_warm_invocation_executes_few_instructions() -> None:
    """Nor, with what is done in C, more machine instructions."""
    try:
        measured = ratio(instructions.machine)
    except instructions.NotCountable as error:
        pytest.skip(str(error))
    assert measured < LIMIT
