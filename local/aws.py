"""moto's server in a process of its own: S3, SQS and CloudFormation on the loopback address.

A process, because moto's requests would otherwise take turns with the HTTP front's; and because
the two can then be imported at the same time.
"""

import logging
import os
import subprocess
import sys
from typing import IO, Self

REGION = "us-east-1"


class MotoServer:
    """moto's server for as long as the `with` block lasts."""

    def __init__(self) -> None:
        """Start the process; entering the block waits until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.aws"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent alone
        )

    def __enter__(self) -> Self:
        """Wait until the server listens; `endpoint` is set."""
        self.endpoint = _pipe(self._process.stdout).readline().strip()
        if not self.endpoint:
            self.close()
            raise RuntimeError("moto's server did not start: see its message above")
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.close()

    def close(self) -> None:
        """End the process, if it still runs."""
        self._process.kill()
        self._process.communicate()

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


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _serve() -> None:
    # Should anybody create a function in it, moto would run it in Docker.
    os.environ["DOCKER_HOST"] = "unix:///dev/null"
    # Slow, and of no use to the parent.
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    print(f"http://{host}:{port}", flush=True)
    sys.stdin.read()  # the end of the parent, however it came, closes this
    os._exit(0)


if __name__ == "__main__":
    _serve()
