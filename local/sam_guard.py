"""`python -m local.sam_guard ENDPOINT COMMAND...`: SAM CLI, of which no container is left behind.

SAM CLI removes its containers itself, unless it is killed or one of them cannot be removed. So it
runs below a process of its own, which outlives both it and the program that started them.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.docker import NoDocker, remove_containers

_ROOT = Path(__file__).parent.parent
# What SAM CLI gets between SIGTERM and SIGKILL, to remove its containers.
_SHUTDOWN_SECONDS = 20.0


@contextmanager
def guarded(
    endpoint: str, command: list[str], environ: Mapping[str, str], **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run SAM CLI for as long as the `with` block lasts, or this program.

    Its containers are those whose AWS_ENDPOINT_URL is `endpoint`. However this program ends,
    SIGKILL too, the guard then finds its standard input closed.
    """
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        [sys.executable, "-m", "local.sam_guard", endpoint, *command],
        cwd=_ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in a terminal is for this program alone
        **options,
    )
    assert process.stdin  # noqa: S101 - a pipe
    try:
        yield process
    finally:
        process.stdin.close()
        process.wait()


def main(arguments: list[str]) -> int:
    """Run SAM CLI until standard input ends; returns its exit status, its containers removed."""
    endpoint, *command = arguments
    sam = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    threading.Thread(target=_end_with_input, args=(sam,), daemon=True).start()
    status = sam.wait()
    with contextlib.suppress(NoDocker):  # then there are no containers either
        remove_containers(f"AWS_ENDPOINT_URL={endpoint}")
    return status


def _end_with_input(sam: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    sam.terminate()
    try:
        sam.wait(_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        sam.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
