"""A file is accepted with 202 and summarised behind the answer."""

from __future__ import annotations

import hashlib
import json
import re
import tracemalloc
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import Cloud, Context
from hypothesis import given
from hypothesis import strategies as st
from queueing import body, form, ids, notification, post

from app.files import LARGEST_FILE, Summary, safe_name
from app.main import app

Handler = Callable[[Any, Any], dict[str, Any]]
Work = Callable[..., list[str]]
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(100)


def test_a_file_is_kept_and_summarised(
    handler: Handler, work: Work, cloud: Cloud, context: Context
) -> None:
    """202 with the task's Location; then size, hash, media type, lines and words as its result."""
    content = b"one two\nthree\nfour"
    answer = handler(form(content, name="../my notes.txt"), context)

    assert answer["statusCode"] == 202
    accepted = body(answer)
    assert answer["headers"]["location"] == f"/tasks/{accepted['id']}"
    assert accepted["name"] == "my_notes.txt"
    assert cloud.body(f"uploads/{accepted['id']}/my_notes.txt") == content

    assert work(notification(accepted["id"])) == []
    from conftest import Context as NewContext
    from function import ask

    task = body(handler(ask(f"/tasks/{accepted['id']}"), NewContext()))
    assert task["status"] == "SUCCEEDED"
    assert task["result"] == {
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "media_type": "text/plain",
        "lines": 3,
        "words": 4,
    }


@pytest.mark.parametrize(
    ("event", "status", "reason"),
    [
        (form(b""), 422, "the file is empty"),
        (form(bytes(LARGEST_FILE + 1)), 413, "POST /uploads takes more"),
        (post("/files"), 422, "either a form"),
        (post("/files", "upload=0190b6a0-0000-7000-8000-000000000000"), 404, "no upload"),
        (post("/files", "upload=..%2F..%2Flog"), 404, "no upload"),
    ],
)
def test_what_is_no_file_is_refused(
    handler: Handler, context: Context, event: dict[str, Any], status: int, reason: str
) -> None:
    """The answer says what was wrong; no task is accepted."""
    answer = handler(event, context)

    assert answer["statusCode"] == status
    assert reason in answer["body"]
    assert ids(answer) == []


def test_an_upload_past_the_api(handler: Handler, work: Work, cloud: Cloud) -> None:
    """A presigned PUT with length and type signed, then ``POST /files`` with its id."""
    content = PNG
    event = post("/uploads", content_type="application/json")
    event["body"] = json.dumps({"name": "a.png", "size": len(content), "media_type": "image/png"})
    upload = body(handler(event, Context()))

    signed = re.search(r"X-Amz-SignedHeaders=([^&]+)", upload["url"])
    assert signed is not None
    assert {"content-length", "content-type"} <= set(signed[1].replace("%3B", ";").split(";"))
    assert httpx.put(upload["url"], content=content, headers=upload["headers"]).is_success

    answer = handler(post("/files", f"upload={upload['id']}"), Context())
    assert (answer["statusCode"], ids(answer)) == (202, [upload["id"]])
    work(notification(upload["id"]))
    state = json.loads(cloud.body(f"tasks/{upload['id']}/state.json"))
    assert state["result"]["media_type"] == "image/png"
    assert "lines" not in state["result"]


def test_an_upload_goes_to_the_bucket_s_region(
    make_handler: Callable[..., Handler], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The global endpoint redirects to where the signature does not match, or refuses."""
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    # As if from a snapshot, which connects to nothing at init.
    aws = make_handler(app, s3_endpoint=None, region="eu-south-1", snapshot=True)
    event = post("/uploads", content_type="application/json")
    event["body"] = json.dumps({"name": "a", "size": 3})

    upload = body(aws(event, Context()))

    assert urlsplit(upload["url"]).hostname == f"{cloud.bucket}.s3.eu-south-1.amazonaws.com"


def test_an_upload_posted_twice_is_one_task(handler: Handler) -> None:
    """The task's id is the upload's."""
    event = post("/uploads", content_type="application/json")
    event["body"] = json.dumps({"name": "a", "size": 3})
    upload = body(handler(event, Context()))
    httpx.put(upload["url"], content=b"abc", headers=upload["headers"])
    again = post("/files", f"upload={upload['id']}")

    assert ids(handler(again, Context())) == ids(handler(again, Context())) == [upload["id"]]


def test_a_repeated_form_is_the_same_task(handler: Handler) -> None:
    """With an Idempotency-Key, although each sending of a form has a boundary of its own."""
    key = uuid.uuid4().hex
    answers = []
    for _ in range(2):
        event = form(b"abc")
        event["headers"]["idempotency-key"] = key
        answers.append(ids(handler(event, Context())))

    assert answers[0] == answers[1] != []


@given(st.text(max_size=300))
def test_a_safe_name_is_one_harmless_segment(name: str) -> None:
    """Whatever the client calls its file."""
    assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", safe_name(name))


@given(st.text(), st.integers(min_value=1, max_value=7))
def test_counts_do_not_depend_on_the_chunks(text: str, size: int) -> None:
    """Lines and words are those of the whole text, wherever it is cut."""
    content = text.encode(errors="surrogatepass")
    summary = Summary()
    for start in range(0, len(content), size):
        summary.add(content[start : start + size])
    result = summary.result()

    assert result["size"] == len(content)
    if "words" in result:
        assert result["words"] == len(text.split())
        assert result["lines"] == text.count("\n") + (text != "" and not text.endswith("\n"))


def test_memory_does_not_grow_with_the_file() -> None:
    """5 MB are summarised in chunks."""
    summary = Summary()
    chunk = b"word " * 20_000
    tracemalloc.start()
    for _ in range(50):
        summary.add(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert summary.result()["size"] == 5_000_000
    assert peak < 2_500_000
