"""`python -m local.sam`: as `python -m local`, with the API in Lambda's container image.

`sam local start-api` serves it. S3, SQS and the worker are those of `python -m local`.
"""

import argparse
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import sam_cli
from local.aws import without_settings
from local.docker import NoDocker
from local.event_source_mapping import Batch, EventSourceMapping
from local.http_server import bind
from local.leave import leave
from local.log_place import announced
from local.log_place import local as local_log
from local.log_tail import NewObjects
from local.runtime import Runtime
from local.sam_guard import guarded
from local.sandbox import Sandbox, sandbox
from local.signals import on_signal
from local.task_reader import TaskReader
from local.terminal import Terminal

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".aws-sam" / "local"
_PAUSE_SECONDS = 0.2


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP, or until SAM CLI ends; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.sam", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="default: 3000")
    parser.add_argument(
        "--build-dir", type=Path, default=BUILD, help="where to build; default: .aws-sam/local"
    )
    options = parser.parse_args(argv)
    port = options.port
    try:
        bind(port).close()
    except OSError as error:
        return _complain(f"cannot listen on 127.0.0.1:{port}: {error.strerror}; try --port")
    stop = threading.Event()
    on_signal(stop.set)
    try:
        return _run(port, options.build_dir, Terminal(verbose=False), stop)
    except NoDocker as error:
        return _complain(f"cannot run without Docker: {error}")
    except sam_cli.BuildFailed as error:
        return 130 if stop.is_set() else _complain(str(error))


def _complain(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1


def _run(port: int, folder: Path, terminal: Terminal, stop: threading.Event) -> int:
    with sandbox() as box:
        terminal.say("Building for Lambda ...")
        template = box.template(sam_cli.build(folder, without_settings()), "local.yaml")
        command = sam_cli.local(
            "start-api",
            template,
            f"--port={port}",
            # Not EAGER, which would start a container of the worker too.
            "--warm-containers=LAZY",
            # It knows no JWT authorizers, nor that AWS::NoValue is none.
            "--disable-authorizer",
        )
        with (
            _worker(box, terminal),
            guarded(box.endpoint_in_containers, command, box.sam_environ) as process,
        ):
            _show(port, box, terminal, process, stop)
    return 0 if stop.is_set() else process.returncode


@contextmanager
def _worker(box: Sandbox, terminal: Terminal) -> Iterator[None]:
    """Run durable tasks, and print what became of them."""
    (mapping,) = box.stack.event_source_mappings
    function = box.stack.functions[mapping.function]
    environ = {**function.environ, **box.environ}
    tasks = TaskReader(environ)

    def show(batch: Batch) -> None:
        for record in batch.records:
            for task in tasks.tasks_of(record):
                terminal.task(task, batch.report)

    runtime = Runtime(
        function.handler,
        environ,
        timeout=function.timeout,
        memory=function.memory,
        max_environments=2,
        on_output=terminal.function_output,
        cwd=ROOT,
    )
    with (
        runtime,
        EventSourceMapping(
            environ, mapping.queue_url, runtime, batch_size=mapping.batch_size, on_batch=show
        ),
    ):
        yield


def _show(
    port: int,
    box: Sandbox,
    terminal: Terminal,
    process: subprocess.Popen[bytes],
    stop: threading.Event,
) -> None:
    """Print the address, once it answers, and the log as it grows, until either end."""
    environ = {**box.environ, "BUCKET": box.bucket}
    log = NewObjects(local_log(environ))
    serves = False
    with announced(port, environ):
        while process.poll() is None and not stop.wait(_PAUSE_SECONDS):
            if not serves and (serves := _listens(port)):
                terminal.say(
                    f"Serving at http://127.0.0.1:{port}, in Lambda's image; the log is in"
                    f" {box.bucket} at {box.environ['AWS_ENDPOINT_URL']}. Ctrl-C ends everything."
                )
            for address, records in log.read():
                terminal.log_object(address, records)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    leave(main())
