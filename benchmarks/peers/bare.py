"""No framework: what Lambda's runtime client costs by itself."""

from __future__ import annotations

import json
from typing import Any


def handler(_event: Any, _context: Any) -> dict[str, Any]:
    """Answer."""
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps({"status": "ok"}, separators=(",", ":")),
    }
