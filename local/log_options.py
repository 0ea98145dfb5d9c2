"""The options of `python -m local.logs`."""

import argparse
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from local.log_record import Query

_DURATION = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EXAMPLES = "15m, 2h, 1d (ago), or a time such as 2026-11-24T06:00 (UTC) or 2026-11-24T06:00+01:00"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options, `query` among them; exits with status 2 and a message for bad ones."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.follow and options.until:
        parser.error("--follow goes on for ever: leave out --until, or --follow")
    if options.until and options.until <= options.since:
        parser.error(f"--until ({options.until:%FT%TZ}) must be later than --since")
    if options.since > datetime.now(UTC):
        parser.error(f"--since ({options.since:%FT%TZ}) is in the future")
    options.query = Query(
        options.since, options.until, options.grep, options.request_id, options.task
    )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.logs",
        description="Show the log: records of requests and tasks, from S3, in the order of time.",
        epilog=f"Times are {_EXAMPLES}.",
    )
    where = parser.add_argument_group("where (default: the variable BUCKET, else `make run`)")
    one = where.add_mutually_exclusive_group()
    one.add_argument("--bucket", help="a bucket of AWS's")
    one.add_argument("--stack", help="a deployed stack, by its output BucketName")
    one.add_argument(
        "--local",
        type=int,
        nargs="?",
        const=3000,
        metavar="PORT",
        help="what `make run` runs on that port; default: 3000",
    )
    which = parser.add_argument_group("which records")
    which.add_argument("--since", type=_time, default="1h", metavar="TIME", help="default: 1h")
    which.add_argument("--until", type=_time, metavar="TIME", help="before this; default: now")
    which.add_argument("--grep", type=_pattern, metavar="REGEX", help="that have a match")
    which.add_argument("--request-id", metavar="ID", help="of one request")
    which.add_argument("--task", metavar="ID", help="of one durable task")
    how = parser.add_argument_group("how")
    how.add_argument("--follow", "-f", action="store_true", help="go on with those that come")
    form = how.add_mutually_exclusive_group()
    form.add_argument(
        "--raw", action="store_true", default=None, help="as they are: JSON; default in a pipe"
    )
    form.add_argument(
        "--pretty", action="store_false", dest="raw", help="for people; default on a terminal"
    )
    return parser


def _time(text: str) -> datetime:
    if match := _DURATION.fullmatch(text):
        number, unit = match.groups()
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[unit]: int(number)})
        except OverflowError:
            raise argparse.ArgumentTypeError(f"{text!r} is before all time") from None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give {_EXAMPLES}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no regular expression: {error}; put a backslash before what is meant"
            " literally"
        ) from None
