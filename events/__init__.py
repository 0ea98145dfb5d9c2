"""Events as AWS documents them, one JSON file per source and case: for tests, benchmarks and `sam local invoke -e`.

At the top are requests that are answered with 200; `invalid/` has those that are answered with a 4xx, and `refused/`
what no HTTP source sends.

An HTTP API decodes the path before it makes the event; REST APIs, function URLs and load balancers pass it as it came,
and load balancers the query too.
"""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def load(name: str, **overrides: Any) -> Any:
    """A fresh copy of `{name}.json`, its top-level keys replaced by `overrides`: a dict, or None for `refused/null`."""
    event = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return {**event, **overrides} if overrides else event


def names(prefix: str = "") -> list[str]:
    """The names that start with `prefix`, sorted. As in a shell, `http-api-` does not reach into folders, `refused/` does."""
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob(f"{prefix}*.json"))
