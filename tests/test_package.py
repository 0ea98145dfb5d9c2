"""The package: what `sam build` makes is complete, for Lambda's platform, small, reproducible."""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

from local.aws import MotoServer
from local.clients import client_for
from package.build import MACHINES, PYTHON_VERSION, find_interpreter

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000

# Lambda's limit is 250 MB; what is beyond this came in by mistake.
MAXIMUM_SIZE = 50 * MEGABYTE

# One invocation: an event on stdin, the answer as the last line on stdout.
INVOKE = """
import json, sys, types
sys.path.insert(0, ".")
from handler.api import handler
context = types.SimpleNamespace(
    aws_request_id="e1506fd5-9e7b-434f-bd42-4f8fa224b599",
    function_name="ApiFunction",
    get_remaining_time_in_millis=lambda: 29_000,
)
print(json.dumps(handler(json.load(sys.stdin), context)))
"""

Build = Callable[[str, Path], Path]


def run(*command: str | Path, folder: Path = ROOT, **variables: str) -> str:
    """Run a command in `folder` and return what it wrote, with its errors."""
    environ = {**os.environ, **variables}
    result = subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def make(architecture: str, artifact: Path) -> Path:
    """Build as SAM's makefile builder does."""
    makefile = ROOT / "package" / architecture / "Makefile"
    run(
        *("make", "--makefile", makefile, "build-ApiFunction"),
        ARTIFACTS_DIR=str(artifact),
        PYTHON=sys.executable,
    )
    return artifact


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder for what the tests of this module build, whichever process runs them."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "package"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="module")
def sam_build(folder: Path) -> Build:
    """Run `sam build` for an architecture, all functions or some, into a folder; return that."""

    def build(architecture: str, target: Path, *functions: str) -> Path:
        run(
            *(Path(sys.executable).with_name("sam"), "build", *functions),
            f"--build-dir={target}",
            f"--parameter-overrides=Architecture={architecture}",
            "--region=eu-central-1",
            PYTHON=sys.executable,
            SAM_CLI_TELEMETRY="0",
            __SAM_CLI_APP_DIR=str(folder),
        )
        return target

    return build


@pytest.fixture(scope="module")
def builds(sam_build: Build, folder: Path) -> dict[str, Path]:
    """Build for each architecture, as `sam build` does: a folder of artifacts by function.

    All functions for one, to compare them; one for the other.
    """
    made = {machine: folder / machine / "build" for machine in MACHINES}
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for machine, target in made.items():
            if not target.exists():
                sam_build(machine, target, *(() if machine == "arm64" else ("ApiFunction",)))
    return made


@pytest.fixture(scope="module")
def artifacts(builds: dict[str, Path]) -> dict[str, Path]:
    """Return the artifact of ApiFunction for each architecture."""
    return {machine: build / "ApiFunction" for machine, build in builds.items()}


@pytest.fixture(params=MACHINES)
def artifact(request: pytest.FixtureRequest, artifacts: dict[str, Path]) -> Path:
    """Return the artifact for each architecture in turn."""
    return artifacts[request.param]


@pytest.fixture(scope="module")
def target_python() -> str:
    """Return an interpreter of the runtime's version, or skip the test."""
    interpreter = find_interpreter()
    if interpreter is None:
        pytest.skip(f"no Python {PYTHON_VERSION} on this machine")
    return interpreter


def installed(artifact: Path) -> dict[str, str]:
    """Return the version of each package, by its normalised name (PEP 503)."""
    return {
        re.sub("[-_.]+", "-", found.metadata["Name"]).lower(): found.version
        for found in distributions(path=[str(artifact)])
    }


def digest(artifact: Path) -> dict[str, str]:
    """Return the hash, mode and time of each file."""
    return {
        path.relative_to(artifact).as_posix(): (
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}"
            f" {path.stat().st_mode:o} {path.stat().st_mtime}"
        )
        for path in sorted(artifact.rglob("*"))
        if path.is_file()
    }


def test_packages_are_those_of_the_requirements(artifact: Path) -> None:
    """The packages inside are the pinned ones, all of them and no other."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)

    assert installed(artifact) == dict(pins)


def test_nothing_but_packages_and_sources_is_inside(artifact: Path) -> None:
    """At the top are app/, handler/ and what the packages brought: no tests, events, tools."""
    tops = {path.name for path in artifact.iterdir()}

    assert {"app", "handler"} <= tops
    assert not tops & {"bin", "tests", "events", "local", "package", "benchmarks", "template.yaml"}
    assert not [top for top in tops if top.startswith(".")]


def test_every_module_of_the_sources_is_inside(artifact: Path) -> None:
    """Each module of app/ and handler/ is in the artifact, byte for byte."""
    for name in ("app", "handler"):
        modules = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*.py")}
        assert modules == {path.relative_to(artifact) for path in (artifact / name).rglob("*.py")}
        for module in modules:
            assert (artifact / module).read_bytes() == (ROOT / module).read_bytes()


@pytest.mark.parametrize("pattern", ["*.pyi", "py.typed", "tests", "RECORD", "INSTALLER", "*.c"])
def test_nothing_superfluous_is_inside(artifact: Path, pattern: str) -> None:
    """What only installers, type checkers and test runners read is left out."""
    assert not list(artifact.rglob(pattern))


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", 0xB7), ("x86_64", 0x3E)])
def test_native_code_is_for_the_architecture(
    artifacts: dict[str, Path], architecture: str, machine: int
) -> None:
    """Every shared library is for the architecture that the template's parameter names."""
    libraries = list(artifacts[architecture].rglob("*.so*"))

    assert libraries
    for library in libraries:
        # e_machine, in the ELF header.
        assert int.from_bytes(library.read_bytes()[18:20], "little") == machine, library


def test_native_code_is_for_the_runtime(artifact: Path) -> None:
    """A shared library that is bound to one Python version is bound to the template's runtime."""
    tag = PYTHON_VERSION.replace(".", "")

    bound = [path.name for path in artifact.rglob("*.cpython-*.so")]

    assert bound
    assert all(f".cpython-{tag}-" in name for name in bound)


def test_the_build_is_for_the_runtime_of_the_template() -> None:
    """The Python that is built for is the one that the template deploys on."""
    template = yaml_parse((ROOT / "template.yaml").read_text())

    assert template["Globals"]["Function"]["Runtime"] == f"python{PYTHON_VERSION}"


def test_the_build_knows_every_architecture_of_the_template() -> None:
    """Whatever architecture can be chosen has its packages and its makefile."""
    template = yaml_parse((ROOT / "template.yaml").read_text())

    architectures = template["Parameters"]["Architecture"]["AllowedValues"]

    assert architectures == list(MACHINES)
    assert all((ROOT / "package" / name / "Makefile").is_file() for name in architectures)


def test_the_artifact_is_small(artifact: Path) -> None:
    """The artifact stays far below Lambda's limit."""
    assert sum(path.stat().st_size for path in artifact.rglob("*") if path.is_file()) < MAXIMUM_SIZE


@pytest.mark.usefixtures("target_python")
def test_everything_is_compiled(artifact: Path) -> None:
    """Each source has bytecode of the runtime's Python, which checks no source time."""
    tag = PYTHON_VERSION.replace(".", "")

    for source in artifact.rglob("*.py"):
        bytecode = source.parent / "__pycache__" / f"{source.stem}.cpython-{tag}.pyc"
        # PEP 552: the flags after the magic number; 1 is "by hash, and do not check it".
        assert bytecode.read_bytes()[4:8] == b"\x01\0\0\0", bytecode


@pytest.mark.usefixtures("target_python")
def test_bytecode_names_files_as_they_are_on_lambda(artifact: Path) -> None:
    """Nothing compiled mentions the folder that it was built in."""
    for bytecode in artifact.rglob("*.pyc"):
        assert str(artifact).encode() not in bytecode.read_bytes(), bytecode
    assert any(b"/var/task/handler/api.py" in path.read_bytes() for path in artifact.rglob("*.pyc"))


def test_a_missing_interpreter_is_said(tmp_path: Path) -> None:
    """Without the runtime's Python, the build says that there is no bytecode, and succeeds."""
    if "{}.{}".format(*sys.version_info) == PYTHON_VERSION:
        pytest.skip(f"the tests themselves run on Python {PYTHON_VERSION}")
    nowhere = str(tmp_path)

    output = run(
        *(sys.executable, "-c"),
        "from pathlib import Path; from package.build import compile_bytecode;"
        "compile_bytecode(Path('app'))",
        PATH=nowhere,
        PYENV_ROOT=nowhere,
        UV_PYTHON_INSTALL_DIR=nowhere,
    )

    assert output.startswith(f"No Python {PYTHON_VERSION} found: the artifact has no bytecode")


def test_twice_gives_the_same_bytes(artifacts: dict[str, Path], tmp_path: Path) -> None:
    """Another build, elsewhere and without SAM, makes the same files, modes and times."""
    again = make("arm64", tmp_path / "artifact")

    assert digest(again) == digest(artifacts["arm64"])


def test_all_functions_have_the_same_artifact(builds: dict[str, Path]) -> None:
    """One package serves all functions, so that `sam deploy` uploads it once."""
    build = builds["arm64"]
    assert (
        digest(build / "WorkerFunction")
        == digest(build / "CompactFunction")
        == digest(build / "ApiFunction")
    )


def test_the_dashboard_is_uploaded_with_the_functions(
    builds: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    """`sam deploy` uploads the nested stack as it is, and tells CloudFormation where it is."""
    packaged = tmp_path / "packaged.yaml"
    with MotoServer() as moto:
        s3 = client_for("s3", moto.environ)
        s3.create_bucket(Bucket="artifacts")
        run(
            *(Path(sys.executable).with_name("sam"), "package", "--s3-bucket=artifacts"),
            f"--template-file={builds['arm64'] / 'template.yaml'}",
            f"--output-template-file={packaged}",
            f"--region={moto.environ['AWS_REGION']}",
            SAM_CLI_TELEMETRY="0",
            __SAM_CLI_APP_DIR=str(folder),
            **moto.environ,
        )
        resources = yaml_parse(packaged.read_text())["Resources"]
        key = resources["Dashboard"]["Properties"]["TemplateURL"].rpartition("/")[2]
        uploaded = yaml_parse(s3.get_object(Bucket="artifacts", Key=key)["Body"].read().decode())

    written = yaml_parse((ROOT / "dashboard.yaml").read_text())
    for part in ("Transform", "Parameters"):
        assert uploaded[part] == written[part]
    # SAM adds metadata.
    assert uploaded["Resources"]["Dashboard"].items() >= written["Resources"]["Dashboard"].items()


def test_a_folder_with_content_is_left_alone(tmp_path: Path) -> None:
    """The build refuses to mix its files with others."""
    (tmp_path / "mine").touch()

    command = [sys.executable, str(ROOT / "package/build.py"), "arm64", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (result.returncode, result.stderr) == (
        1,
        f"{tmp_path} is not empty: name a new folder\n",
    )


def test_the_artifact_serves_an_event_by_itself(
    artifacts: dict[str, Path], target_python: str, tmp_path: Path
) -> None:
    """On the runtime's Python, with nothing else to import from, it answers GET /health."""
    machine = os.uname().machine
    architecture = next((name for name, value in MACHINES.items() if value == machine), None)
    if sys.platform != "linux" or architecture is None:
        pytest.skip(f"Lambda's native code does not run on {sys.platform} {machine}")
    event = (ROOT / "events/http-api-health.json").read_text()
    result = subprocess.run(
        # Isolated and without site-packages.
        [target_python, "-I", "-S", "-c", INVOKE],
        cwd=artifacts[architecture],
        # A folder of its own for temporary files, so that no other environment's spools are found.
        env={"BUCKET": "bucket", "AWS_REGION": "eu-central-1", "TMPDIR": str(tmp_path)},
        input=event,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout.splitlines()[-1])
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"status": "ok"})
