"""Events as AWS documents them, one file per source and case, also for `sam local invoke -e`.

At the top are requests that are answered with 200; `invalid/` has those that are answered with a
4xx, and `refused/` what is no HTTP request. `worker/` has batches of SQS messages, whose bodies are
S3's notifications of durable tasks: `one-task`, `two-tasks`, `received-again` (for the third time),
`encoded-key` (slashes as %2F, as S3's event may have them), `test-event` (what S3 sends when the
notification is set up), and what is no task: `malformed-body`, also with a task beside it, and
`other-key`.

An HTTP API decodes the path before it makes the event; REST APIs, function URLs and load balancers
pass it as it came, and load balancers the query too.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load(name: str, **overrides: Any) -> Any:
    """Return a fresh copy of `{name}.json` with `overrides` for its top-level keys.

    It is a dict, or None for `refused/null`.
    """
    event = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return {**event, **overrides} if overrides else event


def names(prefix: str = "") -> list[str]:
    """Return the names that start with `prefix`, sorted.

    As in a shell, "" and "http-api-" do not reach into folders, "refused/" does.
    """
    return sorted(
        path.relative_to(FOLDER).with_suffix("").as_posix()
        for path in FOLDER.glob(f"{prefix}*.json")
    )
