"""moto's server in a process of its own: S3, SQS and CloudFormation on this machine.

A process, because moto's requests would otherwise take turns with the HTTP front's; and because
the two can then be imported at the same time.
"""

import contextlib
import logging
import os
import subprocess
import sys
from functools import cached_property
from typing import IO, Self, cast

REGION = "us-east-1"


class MotoServer:
    """moto's server for as long as the `with` block lasts."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """`host` is the address of this machine that it listens on."""
        self._host = host

    def __enter__(self) -> Self:
        """Start the process; `endpoint` waits until it listens."""
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "local.aws", self._host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=without_settings(),
            start_new_session=True,  # Ctrl-C in a terminal is for the parent alone
        )
        return self

    @cached_property
    def endpoint(self) -> str:
        """The server's address; raises RuntimeError when it could not start."""
        line = cast("IO[str]", self._process.stdout).readline().strip()
        if not line:
            raise RuntimeError("moto's server did not start: see its message above")
        return line

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    @property
    def exited(self) -> bool:
        """Whether the process has ended."""
        return self._process.poll() is not None

    @property
    def environ(self) -> dict[str, str]:
        """The variables that point any AWS SDK here."""
        return {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",  # obstore asks for it
        }


def without_settings() -> dict[str, str]:
    """Return this process' environment without its user's settings for the real AWS.

    Whatever uses boto3, as moto and SAM CLI do, stumbles over a profile that is not in order.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def _serve(host: str) -> None:
    # Should anybody create a function in it, moto would run it in Docker.
    os.environ["DOCKER_HOST"] = "unix:///dev/null"
    # Slow, and of no use to the parent.
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(host, 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(f"http://{host}:{port}\n")
        sys.stdout.flush()
        sys.stdin.read()  # the end of the parent, however it came, closes this
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
