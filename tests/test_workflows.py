"""What contributors and CI rely on: workflows pinned and modest, pages that are true."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGES = ["CONTRIBUTING.md", "SECURITY.md", "README.md"]
LONGEST_LINE = 110
STATIC_KEYS = {"aws-access-key-id", "aws-secret-access-key", "aws-session-token"}

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def workflow(path: Path) -> dict[Any, Any]:
    """Return a workflow."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def named(name: str) -> dict[Any, Any]:
    """Return the workflow of a name."""
    return workflow(ROOT / ".github" / "workflows" / f"{name}.yml")


def steps(document: dict[Any, Any]) -> list[dict[str, Any]]:
    """Return every step of every job."""
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


def make_targets() -> set[str]:
    """Return what can be made."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_there_are_workflows() -> None:
    """The tests below look at something."""
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "deploy.yml"]


@every_workflow
def test_actions_are_pinned_to_commits(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot. Its version is beside it, for readers."""
    uses = re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text(), re.MULTILINE)

    assert uses
    for each in uses:
        assert re.fullmatch(r"\./\.github/\S+|[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)


def test_an_action_has_one_version() -> None:
    """No workflow is left behind with an older one."""
    texts = "".join(path.read_text() for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w.-]+/[\w.-]+)@(\S+) # (\S+)", texts))

    assert len(pins) == len({action for action, _, _ in pins})


@every_workflow
def test_a_workflow_may_only_read(path: Path) -> None:
    """By default, the token of a job reads the repository and does nothing else."""
    assert workflow(path)["permissions"] == {"contents": "read"}


@every_workflow
def test_a_checkout_leaves_no_token_behind(path: Path) -> None:
    """What is installed and run later finds no credentials in .git."""
    checkouts = [
        s for s in steps(workflow(path)) if s.get("uses", "").startswith("actions/checkout@")
    ]

    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_only_a_deployment_gets_an_identity() -> None:
    """One job asks for an OIDC token; no other permission is asked for anywhere."""
    asked = {
        (path.name, name): job["permissions"]
        for path in WORKFLOWS
        for name, job in workflow(path)["jobs"].items()
        if "permissions" in job
    }

    assert asked == {
        ("ci.yml", "gate"): {},
        ("deploy.yml", "deploy"): {"contents": "read", "id-token": "write"},
    }


@every_workflow
def test_no_expression_is_pasted_into_a_script(path: Path) -> None:
    """What others can choose, such as a branch's name, reaches a shell as a variable only."""
    assert not [step["run"] for step in steps(workflow(path)) if "${{" in step.get("run", "")]


def test_there_are_no_long_lived_keys() -> None:
    """Deployments assume a role; no workflow knows a secret."""
    (credentials,) = [
        step
        for step in steps(named("deploy"))
        if step.get("uses", "").startswith("aws-actions/configure-aws-credentials@")
    ]

    assert "role-to-assume" in credentials["with"]
    assert not credentials["with"].keys() & STATIC_KEYS
    assert not [path for path in WORKFLOWS if "secrets." in path.read_text()]


def test_the_gate_needs_every_job() -> None:
    """The one required status fails when any job fails, is cancelled or is skipped."""
    jobs = named("ci")["jobs"]
    gate = jobs.pop("gate")

    assert set(gate["needs"]) == set(jobs)
    assert gate["if"] == "always()"
    (step,) = gate["steps"]
    assert step["env"]["RESULTS"] == "${{ join(needs.*.result, ' ') }}"


@pytest.mark.parametrize(
    ("results", "passed"),
    [
        ("success success", "passed"),
        ("success failure", "failed"),
        ("cancelled success", "failed"),
        ("success skipped", "failed"),
    ],
)
def test_the_gate_passes_when_every_job_succeeded(results: str, passed: str) -> None:
    """Its script, as GitHub runs it."""
    (step,) = named("ci")["jobs"]["gate"]["steps"]

    ended = subprocess.run(["bash", "-e", "-c", step["run"]], env={"RESULTS": results}, check=False)

    assert ("failed" if ended.returncode else "passed") == passed


def test_ci_runs_what_a_person_runs() -> None:
    """The jobs are the commands of CONTRIBUTING.md, on the oldest Python and on Lambda's."""
    jobs = named("ci")["jobs"]
    project = (ROOT / "pyproject.toml").read_text()
    runtime = yaml.safe_load(
        re.search(r"Runtime: python(\S+)", (ROOT / "template.yaml").read_text())[1]
    )
    oldest = re.search(r'requires-python = ">=(\S+)"', project)[1]

    assert jobs["check"]["steps"][-1]["run"] == "make check"
    assert jobs["check"]["strategy"]["matrix"]["python"] == [oldest, str(runtime)]
    assert jobs["test-sam"]["steps"][-1]["run"] == "make test-sam ARGS=--require-docker"


def test_a_deployment_waits_for_ci() -> None:
    """Nothing is deployed that CI has not passed, and one deployment of a stage at a time."""
    jobs = named("deploy")["jobs"]

    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["deploy"]["needs"] == "ci"
    assert jobs["deploy"]["concurrency"]["cancel-in-progress"] is False


def test_a_deployment_is_to_a_stage_that_has_settings() -> None:
    """The stages that can be chosen are those of samconfig.toml."""
    document = named("deploy")
    # YAML 1.1 reads the key `on` as true.
    stages = document[True]["workflow_dispatch"]["inputs"]["stage"]["options"]
    settings = (ROOT / "samconfig.toml").read_text()

    assert stages
    assert all(f"[{stage}.deploy.parameters]" in settings for stage in stages)
    assert document["jobs"]["deploy"]["environment"] == "${{ inputs.stage || 'dev' }}"


@every_workflow
def test_a_workflow_makes_what_can_be_made(path: Path) -> None:
    """Each target that a workflow calls is one of the Makefile."""
    called = re.findall(r"run: make (\S+)", path.read_text())

    assert called
    assert set(called) <= make_targets()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_there_is(page: str) -> None:
    """Each path and each make target that a page names exists."""
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(
        r"`((?:app|handler|events|tests|local|package|benchmarks|\.github)/[\w./-]*|[\w.]+\.(?:yaml|toml|md))`",
        text,
    )
    targets = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)

    assert paths or targets
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert set(targets) <= make_targets()


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_a_page_is_wrapped(page: str) -> None:
    """A change of a page shows as the lines that it changed: no paragraph is one long line."""
    blocks = (ROOT / page).read_text(encoding="utf-8").split("```")
    prose = [line for block in blocks[::2] for line in block.splitlines() if line[:1] != "|"]

    assert [line for line in prose if len(line) > LONGEST_LINE] == []


def test_the_hooks_are_the_tools_of_make_lint() -> None:
    """A commit is checked by the same tools as the pull request, in the versions of .venv."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]

    tools = {hook["entry"].split()[0] for hook in hooks}

    assert all(repo["repo"] == "local" for repo in config["repos"])
    assert {Path(tool).name for tool in tools} == {"ruff", "mypy", "cfn-lint"}
    assert tools <= set(re.findall(r"\.venv/bin/\S+", recipe))


def test_the_licence_is_the_whole_apache_licence() -> None:
    """The text is Apache's own, which pyproject.toml names."""
    text = (ROOT / "LICENSE").read_bytes()

    # apache.org/licenses/LICENSE-2.0.txt
    assert hashlib.sha256(text).hexdigest() == (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    )
    assert 'license = "Apache-2.0"' in (ROOT / "pyproject.toml").read_text()
