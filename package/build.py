"""Fill a folder with what Lambda unpacks to /var/task: the hashed requirements, `app/`, `handler/`, nothing else.

`sam build` runs it by way of `package/<architecture>/Makefile`. The packages are those of Lambda's platform
whatever machine builds, and the same inputs give the same bytes.
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

# Nothing reads these on Lambda. RECORD, INSTALLER and REQUESTED are for uninstalling; RECORD would also be wrong here.
SUPERFLUOUS = (
    "bin",
    "**/*.pyi",
    "**/py.typed",
    "**/tests",
    *(f"*.dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED", "sboms")),
)

# Where version managers keep interpreters that are not on PATH, or are hidden there by a shim that refuses to run.
VERSION_MANAGERS = (
    Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
    Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
)

# A file's time and mode come from the checkout and the umask; in the artifact they must not differ from build to build.
FILE_TIME = 946_684_800  # 2000-01-01, which a zip file can hold in every time zone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=MACHINES)
    parser.add_argument("artifact", type=Path, help="the folder to fill, empty or missing")
    arguments = parser.parse_args()
    build(arguments.architecture, arguments.artifact)


def build(architecture: str, artifact: Path) -> None:
    """Fill `artifact` for `architecture`. Raises SystemExit, with the reason, when that cannot be done."""
    if artifact.exists() and any(artifact.iterdir()):
        raise SystemExit(f"{artifact} is not empty: name a new folder")
    install_requirements(MACHINES[architecture], artifact)
    copy_sources(artifact)
    remove_superfluous(artifact)
    compile_bytecode(artifact)
    settle_times_and_modes(artifact)


def install_requirements(machine: str, artifact: Path) -> None:
    # pip does not expand a platform to the older ones that it can run.
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR_VERSION, 16, -1)]
    platforms = [f"--platform={tag}" for tag in (*tags, f"manylinux2014_{machine}")]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(requirements_without_markers(), encoding="utf-8")
        run(
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


def requirements_without_markers() -> str:
    """The requirements without their markers, which pip would evaluate for the Python and the machine it runs on."""
    source = ROOT / "requirements.txt"
    text = UNIVERSAL_MARKER.sub("", source.read_text(encoding="utf-8"))
    if marked := re.search(r"^\S+ *;.*?(?= *\\?$)", text, re.MULTILINE):
        raise SystemExit(f"{source.name} has a marker that may not hold on Lambda: {marked[0]}")
    return text


def copy_sources(artifact: Path) -> None:
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, artifact / name, ignore=shutil.ignore_patterns("__pycache__", ".*")
        )


def remove_superfluous(artifact: Path) -> None:
    for pattern in SUPERFLUOUS:
        for path in list(artifact.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def compile_bytecode(artifact: Path) -> None:
    """Compile for the target's Python: without, a cold start takes 2.2 times as long (DESIGN section 4)."""
    interpreter = find_interpreter()
    if interpreter is None:
        print(
            f"No Python {PYTHON_VERSION} found: the artifact has no bytecode, cold starts take about twice as long."
        )
        return
    run(
        # The hash seed orders the members of a frozen set, and with it the bytes.
        *(interpreter, "-W", "ignore", "-m", "compileall", "-q", str(artifact)),
        # Unchecked: /var/task is read-only, so the sources cannot change, and their times differ from build to build.
        *("--invalidation-mode", "unchecked-hash"),
        # Tracebacks name the files as they are on Lambda, whatever folder they were built in.
        *("-s", str(artifact), "-p", "/var/task"),
        environment={"PYTHONHASHSEED": "0"},
    )


def find_interpreter() -> str | None:
    return next(
        (candidate for candidate in interpreter_candidates() if is_target_python(candidate)), None
    )


def interpreter_candidates() -> Iterator[str]:
    yield sys.executable
    yield f"python{PYTHON_VERSION}"
    for folder in VERSION_MANAGERS:
        yield from map(str, sorted(folder.glob(f"*{PYTHON_VERSION}.*/bin/python{PYTHON_VERSION}")))


def is_target_python(interpreter: str) -> bool:
    code = "import sys; print(sys.implementation.name, '{}.{}'.format(*sys.version_info))"
    try:
        version = subprocess.run(
            [interpreter, "-c", code], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return False
    return version.split() == ["cpython", PYTHON_VERSION]


def settle_times_and_modes(artifact: Path) -> None:
    for path in (artifact, *artifact.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)
        os.utime(path, (FILE_TIME, FILE_TIME))


def run(*command: str, environment: dict[str, str] | None = None) -> None:
    completed = subprocess.run(command, env={**os.environ, **(environment or {})}, check=False)
    if completed.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {completed.returncode}")


if __name__ == "__main__":
    main()
