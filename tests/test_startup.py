"""Init does what a first answer needs, and puts off the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cloud

ROOT = Path(__file__).parents[1]

Run = Callable[[str], Any]


@pytest.fixture
def run(cloud: Cloud, tmp_path: Path) -> Run:
    """Run a program as the runtime client runs a function; return what it makes of ``seen``."""

    def run(program: str) -> Any:
        start = "import awslambdaric, gc, json, os, sys\nseen = None\n"
        end = '\nos.write(2, ("\\n" + json.dumps(seen)).encode())\nos._exit(0)'
        path = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)}
        ended = subprocess.run(
            [sys.executable, "-c", start + program + end],
            env={"PATH": os.environ["PATH"], **cloud.environ, **path},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stderr.splitlines()[-1])

    return run


INVOKE = """
from handler.api import handler
import events
class Context:
    aws_request_id = "r"
    def get_remaining_time_in_millis(self):
        return 30_000
def ask(name):
    return handler(events.load(name), Context())
"""


def test_the_models_of_openapi_are_built_when_they_are_asked_for(run: Run) -> None:
    """Not at init; /openapi.json is complete all the same."""
    before, answer, after = run(
        f"""{INVOKE}
from fastapi.openapi.models import OpenAPI, Schema
before = [OpenAPI.__pydantic_complete__, Schema.__pydantic_complete__]
answer = ask("http-api-openapi")
seen = [before, answer["body"], OpenAPI.__pydantic_complete__]
"""
    )

    assert (before, after) == ([False, False], True)
    assert "/send-notification/{email}" in json.loads(answer)["paths"]


def test_a_model_of_openapi_can_be_used_by_itself(run: Run) -> None:
    """As applications do that describe their responses, and with all that it refers to."""
    assert run(
        """
import handler.startup
from fastapi.openapi.models import Operation, Schema
schema = Schema.model_validate({"items": {"properties": {"a": {"type": "string"}}}})
seen = [schema.items.properties["a"].type, Operation(responses={"200": {"description": "ok"}})
    .responses["200"].description]
"""
    ) == ["string", "ok"]


def test_models_are_rebuilt_by_the_application_at_once(run: Run) -> None:
    """What FastAPI's are spared, those of the application are not."""
    assert run(
        """
import handler.startup
from pydantic import BaseModel
class Outer(BaseModel):
    inner: "Inner"
class Inner(BaseModel):
    number: int
before = Outer.__pydantic_complete__
Outer.model_rebuild()
seen = [before, Outer.__pydantic_complete__]
"""
    ) == [False, True]


def test_the_first_version_of_pydantic_is_not_imported(run: Run) -> None:
    """FastAPI asks whether a model of it is in use, which none is."""
    assert run(f'{INVOKE}ask("http-api-health")\nseen = "pydantic.v1" in sys.modules') is False


@pytest.mark.parametrize(
    "imported",
    [
        "from pydantic.v1 import BaseModel",
        "import pydantic.v1; BaseModel = pydantic.v1.BaseModel",
        "from pydantic import v1; BaseModel = v1.BaseModel",
        "import pydantic; BaseModel = pydantic.v1.BaseModel",
    ],
)
def test_models_of_the_first_version_work_and_are_refused_as_ever(run: Run, imported: str) -> None:
    """However an application imports it, it gets it; FastAPI refuses its models, and no others."""
    assert run(
        f"""
from handler.api import make_handler
from fastapi import FastAPI
import pydantic
app = FastAPI()
class Second(pydantic.BaseModel):
    number: int
@app.get("/")
def fine() -> Second: ...
{imported}
class First(BaseModel):
    number: int
try:
    @app.get("/first")
    def refused() -> First: ...
except Exception as error:
    seen = [First(number="7").number, BaseModel.__module__, type(error).__name__]
"""
    ) == [7, "pydantic.v1.main", "PydanticV1NotSupportedError"]


def test_another_application_does_not_import_the_routes_of_this_one(run: Run) -> None:
    """What serves any application has nothing of ``app.main``'s in it."""
    assert (
        run(
            """
from handler.api import make_handler
from fastapi import FastAPI
make_handler(FastAPI())
seen = [name for name in sys.modules if name in ("app.main", "app.files", "app.tasks")]
"""
        )
        == []
    )


def test_models_of_the_application_are_built_at_init(run: Run) -> None:
    """A mistake in one is an error of init, and no request waits for it."""
    assert run(
        f"""{INVOKE}
from app.files import Wanted
from pydantic import BaseModel
class Own(BaseModel):
    number: int
seen = [Wanted.__pydantic_complete__, Own.__pydantic_complete__]
"""
    ) == [True, True]


def test_addresses_are_validated_with_what_is_loaded_then(run: Run) -> None:
    """A function that gets no address loads nothing for it; a bad one is found all the same."""
    before, statuses = run(
        f"""{INVOKE}
before = "email_validator.syntax" in sys.modules
seen = [before, [ask(name)["statusCode"] for name in
    ("http-api-health", "http-api-notification", "invalid/http-api-bad-address")]]
"""
    )

    assert before is False
    assert statuses == [200, 200, 422]


def test_parts_of_the_standard_library_are_loaded_when_they_are_used(run: Run) -> None:
    """A first answer loads none of them, and each works."""
    loaded, used = run(
        f"""
before = set(sys.modules)
{INVOKE}
ask("http-api-health")
parts = {{"bz2": "compress", "calendar": "timegm", "csv": "reader", "gzip": "compress",
    "html": "escape", "locale": "getencoding", "lzma": "compress"}}
loaded = [name for name in parts if name not in before and parts[name] in vars(sys.modules[name])]
import bz2, calendar, csv, gzip, html, locale, lzma, shutil
used = [calendar.timegm((1970, 1, 2, 0, 0, 0)), list(csv.reader(["a,b"])), html.escape("<"),
    isinstance(locale.getencoding(), str),
    [module.decompress(module.compress(b"c")).decode() for module in (bz2, gzip, lzma)],
    {{"bztar", "xztar"}} <= {{name for name, _ in shutil.get_archive_formats()}}]
seen = [loaded, used]
"""
    )

    assert loaded == []
    assert used == [86400, [["a", "b"]], "&lt;", True, ["c", "c", "c"], True]


def test_garbage_is_collected_after_init(run: Run) -> None:
    """Not while all is imported, and afterwards not among that."""
    during, after, frozen = run(
        f"""
during = []
class Look:
    def find_spec(self, name, *_):
        if name in ("pydantic", "fastapi"):
            during.append(gc.isenabled())
sys.meta_path.insert(0, Look())
{INVOKE}
seen = [during, gc.isenabled(), gc.get_freeze_count()]
"""
    )

    assert (during, after) == ([False, False], True)
    assert frozen > 10_000


def test_garbage_of_the_lifespan_is_collected(run: Run) -> None:
    """What an application only needs to start does not stay for as long as the environment."""
    assert run(
        """
import weakref
from contextlib import asynccontextmanager
from handler.api import make_handler
from fastapi import FastAPI
class Node: pass
@asynccontextmanager
async def lifespan(app):
    node = Node()
    node.itself = node
    app.state.left = weakref.ref(node)
    del node
    yield
app = FastAPI(lifespan=lifespan)
make_handler(app)
gc.collect()
seen = app.state.left() is None
"""
    )


def test_the_compactor_collects_garbage(run: Run) -> None:
    """It has no application to start, and goes through more data than any other function."""
    assert run("from handler.compact import handler\nseen = gc.isenabled()")


def test_the_compactor_imports_no_fastapi(run: Run) -> None:
    """It serves no application; nor does what reads the log on this machine."""
    program = "import handler.compact, local.logs\nhandler.compact.handler\n"
    assert run(f"{program}seen = 'fastapi' in sys.modules") is False


def test_what_was_there_is_left_alone_elsewhere(run: Run) -> None:
    """Where there is no init, as in the tests of a project, many environments may come and go."""
    program = f"del sys.modules['awslambdaric']\n{INVOKE}\nhandler\nseen = gc.get_freeze_count()"
    assert run(program) == 0


def test_what_only_imports_the_package_collects_garbage(run: Run) -> None:
    """Elsewhere than in a function there is no init whose end would switch it on again."""
    assert (
        run("del sys.modules['awslambdaric']\nimport handler.startup\nseen = gc.isenabled()")
        is True
    )


def test_a_module_that_cannot_be_loaded_says_why_each_time(tmp_path: Path, run: Run) -> None:
    """What is wrong with it is raised where it is used, and not hidden the second time."""
    (tmp_path / "broken.py").write_text("raise RuntimeError('no such luck')")

    assert run(
        f"""
from handler import lazily
sys.path.append({str(tmp_path)!r})
lazily.load("broken")
import broken
seen = []
for _ in range(2):
    try:
        broken.anything
    except RuntimeError as error:
        seen.append(str(error))
"""
    ) == ["no such luck", "no such luck"]


def test_a_first_answer_needs_no_boto3_and_no_thread(run: Run) -> None:
    """Neither AWS's SDK nor AnyIO's threads are there before something needs them."""
    loaded, threads = run(
        f"""{INVOKE}
import threading
ask("http-api-health")
names = [thread.name for thread in threading.enumerate()]
seen = [[name for name in ("boto3", "botocore.client", "anyio._backends._asyncio")
    if name in sys.modules], [name for name in names if "AnyIO" in name]]
"""
    )

    assert (loaded, threads) == ([], [])
