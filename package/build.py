"""Fill a folder with what Lambda unpacks to /var/task: hashed requirements, `app/`, `handler/`.

`sam build` runs it by way of `package/<architecture>/Makefile`. The packages are those of Lambda's
platform whatever machine builds, and the same inputs give the same bytes.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("app", "handler")

# The template's Runtime, and the glibc of the Amazon Linux 2023 that it runs on.
PYTHON_VERSION = "3.13"
GLIBC_MINOR_VERSION = 34

MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}

# uv writes it on every line, for the Pythons that this project supports: Lambda's is one of them.
UNIVERSAL_MARKER = re.compile(r" ; python_full_version < '3\.15'")

# Nothing reads these on Lambda. RECORD, INSTALLER and REQUESTED are for uninstalling; RECORD would
# also be wrong here.
SUPERFLUOUS = (
    "bin",
    "**/*.pyi",
    "**/py.typed",
    "**/tests",
    *(f"*.dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED", "sboms")),
)

# Where version managers keep interpreters that are not on PATH, or that their shim hides.
VERSION_MANAGERS = (
    Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
    Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
)

# Times and modes come from the checkout and the umask, and must not differ from build to build.
# 2000-01-01: a zip file can hold it in every time zone.
FILE_TIME = 946_684_800


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=MACHINES)
    parser.add_argument("artifact", type=Path, help="the folder to fill, empty or missing")
    arguments = parser.parse_args()
    build(arguments.architecture, arguments.artifact)


def build(architecture: str, artifact: Path) -> None:
    """Fill `artifact` for `architecture`. Raises SystemExit, with the reason, when it cannot."""
    if artifact.exists() and any(artifact.iterdir()):
        raise SystemExit(f"{artifact} is not empty: name a new folder")
    _install_requirements(MACHINES[architecture], artifact)
    _copy_sources(artifact)
    _remove_superfluous(artifact)
    compile_bytecode(artifact)
    _settle_times_and_modes(artifact)


def _install_requirements(machine: str, artifact: Path) -> None:
    # pip does not expand a platform to the older ones that it can run.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR_VERSION, 16, -1)]
    platforms = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(_requirements_without_markers(), encoding="utf-8")
        _run(
            *(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-compile",
            ),
            *("--require-hashes", "--no-deps", "--only-binary=:all:"),
            *("--implementation=cp", f"--python-version={PYTHON_VERSION}", *platforms),
            *(f"--target={artifact}", f"--requirement={requirements}"),
        )


def _requirements_without_markers() -> str:
    """Return the requirements without markers: pip would evaluate them for where it runs itself."""
    source = ROOT / "requirements.txt"
    text = UNIVERSAL_MARKER.sub("", source.read_text(encoding="utf-8"))
    if marked := re.search(r"^\S+ *;.*?(?= *\\?$)", text, re.MULTILINE):
        raise SystemExit(f"{source.name} has a marker that may not hold on Lambda: {marked[0]}")
    return text


def _copy_sources(artifact: Path) -> None:
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, artifact / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )


def _remove_superfluous(artifact: Path) -> None:
    for pattern in SUPERFLUOUS:
        for path in list(artifact.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def compile_bytecode(artifact: Path) -> None:
    """Compile for the target's Python: without, a cold start takes 2.2 times as long."""
    interpreter = find_interpreter()
    if interpreter is None:
        print(  # noqa: T201 - SAM shows it
            f"No Python {PYTHON_VERSION} found: the artifact has no bytecode, "
            "cold starts take about twice as long."
        )
        return
    _run(
        # The hash seed orders the members of a frozen set, and with it the bytes.
        *(interpreter, "-W", "ignore", "-m", "compileall", "-q", str(artifact)),
        # Unchecked: /var/task is read-only, so the sources cannot change.
        *("--invalidation-mode", "unchecked-hash"),
        # Tracebacks name the files as they are on Lambda, whatever folder they were built in.
        *("-s", str(artifact), "-p", "/var/task"),
        environment={"PYTHONHASHSEED": "0"},
    )


def find_interpreter() -> str | None:
    """Return an interpreter of the target's version, or None."""
    return next(
        (candidate for candidate in _interpreter_candidates() if _is_target_python(candidate)), None
    )


def _interpreter_candidates() -> Iterator[str]:
    yield sys.executable
    yield f"python{PYTHON_VERSION}"
    for folder in VERSION_MANAGERS:
        yield from map(str, sorted(folder.glob(f"*{PYTHON_VERSION}.*/bin/python{PYTHON_VERSION}")))


def _is_target_python(interpreter: str) -> bool:
    code = "import sys; print(sys.implementation.name, '{}.{}'.format(*sys.version_info))"
    try:
        version = subprocess.run(  # noqa: S603 - our own candidates
            [interpreter, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return version.split() == ["cpython", PYTHON_VERSION]


def _settle_times_and_modes(artifact: Path) -> None:
    for path in (artifact, *artifact.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)
        os.utime(path, (FILE_TIME, FILE_TIME))


def _run(*command: str, environment: dict[str, str] | None = None) -> None:
    environ = {**os.environ, **(environment or {})}
    completed = subprocess.run(command, env=environ, check=False)  # noqa: S603 - our own commands
    if completed.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {completed.returncode}")


if __name__ == "__main__":
    main()
