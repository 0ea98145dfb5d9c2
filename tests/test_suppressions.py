"""checkov finds nothing that is not explained, and nothing is explained in vain."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from deployment import written

CHECKOV = ROOT / ".venv-checkov/bin/checkov"
OPTIONS = ("--skip-download", "--framework", "cloudformation", "--output", "json")

Findings = set[tuple[str, str]]


@pytest.fixture(scope="module")
def check() -> Callable[..., tuple[Findings, Findings]]:
    """checkov, without a network: what failed and what was suppressed, by resource."""
    if not CHECKOV.exists():
        pytest.skip("no checkov here; `make lint` installs it")

    def run(*templates: Path) -> tuple[Findings, Findings]:
        environ = {
            **os.environ,
            "HTTP_PROXY": "http://127.0.0.1:9",
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }
        command = [str(CHECKOV), *OPTIONS, "--file", *map(str, templates)]
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=120
        )
        report: dict[str, Any] = json.loads(done.stdout)
        # What it cannot parse, checkov passes.
        assert report["summary"]["parsing_errors"] == 0
        assert report["summary"]["passed"] > 0
        return found(report, "failed_checks"), found(report, "skipped_checks")

    return run


def found(report: dict[str, Any], kind: str) -> Findings:
    """Return each finding of a kind: the check, the resource's logical id."""
    return {
        (each["check_id"], each["resource"].rpartition(".")[2]) for each in report["results"][kind]
    }


def suppressions(template: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Return the reason of each suppression in a template."""
    return {
        (skip["id"], name): skip.get("comment", "")
        for name, resource in template["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    }


def test_each_suppression_has_its_reason() -> None:
    """A suppression says, beside it, why the finding is none."""
    reasons = suppressions(written())

    assert reasons
    for finding, reason in reasons.items():
        assert len(reason.split()) > 3, finding


def test_no_suppression_is_stale(
    check: Callable[..., tuple[Findings, Findings]], tmp_path: Path
) -> None:
    """Without the suppressions, checkov finds just what they name: `make lint` finds the rest."""
    template = written()
    suppressed = suppressions(template).keys()
    for resource in template["Resources"].values():
        resource.get("Metadata", {}).pop("checkov", None)
    bare = tmp_path / "template.json"
    bare.write_text(json.dumps(template))

    failed, skipped = check(bare)

    assert failed == suppressed
    assert skipped == set()
