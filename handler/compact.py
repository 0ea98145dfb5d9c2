"""The Lambda function that compacts the log, once an hour: ``handler.compact.handler``.

One object per invocation is right for writing and wrong for reading years of it. So the objects of
each finished hour (``log/YYYY/MM/DD/HH/``) are merged into parts of up to 64 MB of gzip
(``compacted/YYYY/MM/DD/HH/NNNNN.jsonl.gz``), and deleted. However it is killed, and however many
run at the same time, whoever reads finds each record, and finds it once:

1. *An object's key stands for its content.* A key is made by one invocation; an environment that
   was killed before it was done with its upload uploads the same again. So what was merged can be
   told by its key, for good, whenever an object comes late or comes back.
2. *A part is written by one request, which is the commit.* It holds the records and, between them,
   the keys that they come from (``handler/merged.py``). Before, readers see the fresh objects;
   afterwards, they see the part and ignore the fresh objects that it names.
3. *Parts are numbered, and each number is written once* (``If-None-Match: *``). A compactor has
   read all parts before it writes the next, and merges none of what they name. Of two that do the
   same, one finds the number taken and drops what it had. No two parts name the same object.
4. *Objects are deleted when the part that names them is older than GRACE,* by a later run. So
   whoever lists fresh objects, and reads them within GRACE, finds them there.

A reader lists an hour's fresh objects first, then its parts: what is no more among the former was
among the latter before. Athena lists in no particular order, for as long as it runs: the view
``log`` in the template takes no notice of a part that was younger than VISIBLE when the query
started. VISIBLE is longer than a compactor may take; GRACE is VISIBLE, a query's half hour, and as
much again.

A late object is merged by the next run, into a part of its own. A run that has no time left writes
what it has merged, and the next one goes on after it. Hours are looked at for LOOK_BACK: an object
that comes even later stays as it is, and is read as it is. A part expires as many days after it was
written as a fresh object does after it was, so that a record may live longer by LOOK_BACK, at most.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from mangum.types import LambdaContext

from app import log
from app.log import logger
from handler import metrics
from handler.compaction import Compaction, Tally
from handler.errors import CompactionFailed, Conflict
from handler.log_objects import LogObjects, hour_of, is_finished
from handler.settings import Settings
from handler.store import Store

VISIBLE = timedelta(hours=1)
GRACE = timedelta(hours=3)
LOOK_BACK = timedelta(days=7)
RESERVE_SECONDS = 5.0
"""Kept back for the metrics and the end."""

Handler = Callable[[Any, LambdaContext], dict[str, int]]

handler: Handler


class Compactor:
    """Compacts the log of one bucket."""

    def __init__(self, settings: Settings, grace: timedelta = GRACE) -> None:
        self._settings = settings
        self._store = Store(settings)
        self._grace = grace

    def handle(self, _event: Any, context: LambdaContext) -> dict[str, int]:
        """Compact what there is to compact, whatever the event; return what was done.

        Raises CompactionFailed, so that Lambda counts it, and tries again, when an hour could not
        be compacted; the others are.
        """
        seconds = context.get_remaining_time_in_millis() / 1000 - RESERVE_SECONDS
        return asyncio.run(self._run(context.aws_request_id, seconds))

    async def _run(self, request_id: str, seconds: float) -> dict[str, int]:
        log.destination.set(StandardOutput(request_id))
        tally = Tally()
        compaction = Compaction(self._store, self._settings, tally, seconds, self._grace)
        deadline = asyncio.get_running_loop().time() + seconds
        objects = LogObjects(self._store, self._settings)
        now = datetime.now(UTC)
        hours = await objects.fresh_hours(hour_of(now - LOOK_BACK), hour_of(now), deadline)
        for hour in hours:
            if compaction.is_out_of_time:
                logger.warning("no time left: the next run goes on with %s", f"{hour:%FT%H}")
                break
            if is_finished(hour, now):
                await self._compact(compaction, hour, tally)
        metrics.emit_compaction(self._settings, request_id, tally)
        if tally.failures:
            raise CompactionFailed(f"{tally.failures} hours could not be compacted")
        return asdict(tally)

    async def _compact(self, compaction: Compaction, hour: datetime, tally: Tally) -> None:
        try:
            await compaction.compact(hour)
        except Conflict:
            logger.info("another compactor is at %s", f"{hour:%FT%H}")
        except Exception:  # noqa: BLE001 - one hour must not keep the others from being compacted
            logger.exception("%s not compacted", f"{hour:%FT%H}")
            tally.failures += 1


class StandardOutput:
    """A destination of records that takes none, which is to print them.

    The compactor writes no log to S3: it would compact its own for ever.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id

    def write(self, _line: str) -> bool:
        """Take nothing."""
        return False


def make_handler(settings: Settings | None = None, grace: timedelta = GRACE) -> Handler:
    """Return a compactor. Raises SettingsError, which ends init with its message."""
    return Compactor(settings or Settings.from_environ(os.environ), grace).handle


def __getattr__(name: str) -> Handler:
    # As in handler/api.py.
    if name != "handler":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = make_handler()
    return made
