"""`python -m local`: the whole application on this machine, at http://127.0.0.1:3000."""

import argparse
import asyncio
import socket
import sys
from pathlib import Path

from local.aws import MotoServer
from local.http_server import bind
from local.signals import on_signal
from local.terminal import Terminal

ROOT = Path(__file__).parent.parent
FUNCTION = "ApiFunction"


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
    terminal.say("Starting S3 and the function's environment on this machine ...")
    with MotoServer() as moto:
        # Imported here because they are slow: after the first line, and while moto starts.
        from local import stack  # noqa: PLC0415
        from local.log_reader import LogReader  # noqa: PLC0415
        from local.runtime import Runtime  # noqa: PLC0415
        from local.serving import serve  # noqa: PLC0415

        created = stack.create(moto.environ)
        for line in created.left_out if options.verbose else ():
            terminal.say(f"  not created: {line}")
        function = created.functions[FUNCTION]
        environ = {**function.environ, **moto.environ}
        if options.respond:
            environ["RESPOND"] = options.respond
        with Runtime(
            function.handler,
            environ,
            timeout=function.timeout,
            memory=function.memory,
            max_environments=options.environments,
            on_output=terminal.function_output,
            cwd=ROOT,
        ) as runtime:
            asyncio.run(serve(runtime, LogReader(environ), terminal, listener))


if __name__ == "__main__":
    sys.exit(main())
