"""`make logs`, `python -m local.logs`: the log, from S3 or from `make run`, in order of time."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from handler.errors import AfterwordError, SettingsError
from local import log_options
from local.leave import leave
from local.log_place import NoSuchLog, Place, of_bucket, of_run, of_stack, runs
from local.log_reader import LogReader
from local.log_record import Record
from local.log_search import follow, search
from local.log_view import pretty
from local.progress import Progress

_BAD_INPUT, _FAILED, _INTERRUPTED = 2, 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Show what was asked for; returns the exit status."""
    options = log_options.parse(argv)
    try:
        asyncio.run(_show(options, _place(options)))
        sys.stdout.flush()
    except (NoSuchLog, SettingsError) as error:
        return _say(str(error), _BAD_INPUT)
    except AfterwordError as error:
        return _say(f"the log cannot be read: {error}", _FAILED)
    except KeyboardInterrupt:
        # There is no other way to end --follow, and make would call it an error.
        return 0 if options.follow else _INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read it has enough
    return 0


def _say(message: str, status: int) -> int:
    sys.stderr.write(f"{message}\n")
    return status


def _place(options: argparse.Namespace) -> Place:
    if options.bucket:
        return of_bucket(options.bucket)
    if options.stack:
        return of_stack(options.stack)
    if options.local is not None:
        return of_run(options.local)
    if bucket := os.environ.get("BUCKET"):
        return of_bucket(bucket)
    match runs():
        case []:
            raise NoSuchLog(
                "no log to read:"
                " give --bucket NAME or --stack NAME, set BUCKET, or start `make run`"
            )
        case [port]:
            return of_run(port)
        case ports:
            raise NoSuchLog(f"several are running: give --local with a port, one of {ports}")


async def _show(options: argparse.Namespace, place: Place) -> None:
    reader = LogReader(place)
    look = follow if options.follow else search
    with Progress(sys.stderr, place.address) as progress:
        await _print(look(reader, options.query, progress.count), progress, options)


async def _print(
    records: AsyncGenerator[Record], progress: Progress, options: argparse.Namespace
) -> None:
    for_people = sys.stdout.isatty()
    raw = options.raw if options.raw is not None else not for_people
    colours = for_people and "NO_COLOR" not in os.environ
    async with aclosing(records):
        async for record in records:
            progress.clear()
            line = record.line if raw else pretty(record, colours=colours)
            sys.stdout.buffer.write(line.encode(errors="surrogateescape") + b"\n")
            if for_people or options.follow:
                sys.stdout.buffer.flush()


if __name__ == "__main__":
    leave(main())
