"""`python -m local`: the whole application on this machine, at http://127.0.0.1:3000."""

import argparse
import asyncio
import socket
import sys
from functools import partial
from pathlib import Path

from local.aws import MotoServer
from local.http_server import bind
from local.leave import leave
from local.signals import on_signal
from local.terminal import Terminal

ROOT = Path(__file__).parent.parent
API = "ApiFunction"
WORKER_ENVIRONMENTS = 2


def main(argv: list[str] | None = None) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; returns the exit status."""
    options = _options(argv)
    try:
        listener = bind(options.port)
    except OSError as error:
        where = f"127.0.0.1:{options.port}"
        sys.stderr.write(f"cannot listen on {where}: {error.strerror}; try --port\n")
        return 1
    on_signal(_interrupt)
    try:
        _run(options, listener)
    except KeyboardInterrupt:
        return 130
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="default: 3000")
    parser.add_argument(
        "--respond",
        choices=("after-tasks", "before-tasks"),
        help="when the answer leaves; default: as template.yaml has it",
    )
    parser.add_argument(
        "--environments", type=int, default=10, help="at most, at the same time; default: 10"
    )
    parser.add_argument("--verbose", action="store_true", help="show metrics too")
    return parser.parse_args(argv)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace, listener: socket.socket) -> None:
    terminal = Terminal(verbose=options.verbose)
    terminal.say("Starting S3, SQS and the functions' environments on this machine ...")
    with MotoServer() as moto:
        # Imported here because they are slow: after the first line, and while moto starts.
        from local import log_place, stack  # noqa: PLC0415
        from local.event_source_mapping import EventSourceMapping  # noqa: PLC0415
        from local.log_tail import NewObjects  # noqa: PLC0415
        from local.runtime import Runtime  # noqa: PLC0415
        from local.serving import serve  # noqa: PLC0415
        from local.task_reader import TaskReader  # noqa: PLC0415

        created = stack.create(moto.environ)
        for line in created.left_out if options.verbose else ():
            terminal.say(f"  not created: {line}")

        def runtime_of(name: str, environments: int, **environ: str) -> Runtime:
            function = created.functions[name]
            return Runtime(
                function.handler,
                {**function.environ, **moto.environ, **environ},
                timeout=function.timeout,
                memory=function.memory,
                max_environments=environments,
                on_output=terminal.function_output,
                cwd=ROOT,
            )

        (mapping,) = created.event_source_mappings
        respond = {"RESPOND": options.respond} if options.respond else {}
        with (
            runtime_of(API, options.environments, **respond) as api,
            runtime_of(mapping.function, WORKER_ENVIRONMENTS) as worker,
        ):
            queue = partial(
                EventSourceMapping,
                moto.environ,
                mapping.queue_url,
                worker,
                batch_size=mapping.batch_size,
                concurrency=WORKER_ENVIRONMENTS,
            )
            environ = {**created.functions[API].environ, **moto.environ}
            readers = NewObjects(log_place.local(environ)), TaskReader(environ)
            with log_place.announced(listener.getsockname()[1], environ):
                asyncio.run(
                    serve(api, lambda each: queue(on_batch=each), readers, terminal, listener)
                )


if __name__ == "__main__":
    leave(main())
