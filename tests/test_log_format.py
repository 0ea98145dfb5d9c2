"""One record is one line of JSON, whatever its text; its own fields cannot be forged."""

from __future__ import annotations

import contextvars
import json
import logging
import threading
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pydantic
import pytest
import sources
from conftest import Cloud, Context
from fastapi import BackgroundTasks, FastAPI
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic.networks import validate_email
from pydantic_core import PydanticCustomError

import events
from app import log as app_log
from app.log import destination, logger

Handler = Callable[[Any, Any], dict[str, Any]]
MakeHandler = Callable[..., Handler]

ROUTE = "/send-notification/"
NASTY = (
    "\u2028\u2029\x85\x7f\x00\x08\t\n\r\x0b\x0c\x1b\x1c\x1d\x1e\x9b\ufeff\u202e"
    "\"'\\{}[]:,%<>&\U0001f338é"
)
CHARACTERS = st.characters(codec="utf-8") | st.sampled_from(NASTY)
TEXT = st.text(CHARACTERS, max_size=1000)
ANY_TEXT = st.text(
    CHARACTERS | st.characters(categories=["Cs"]), max_size=200
)  # with lone surrogates
FORGERIES = [
    '{"message": "forged", "level": "INFO"}',
    'x"}\n{"message": "forged"}',
    'x","level":"CRITICAL","y":"',
    "a\u2028b\u2029c\x85d\x7fe\x0bf\x0cg\x1ch",
    "\\u000a \\n \\",
    "%s %d %(message)s %",
    "\x1b[2J\x9b31m",
]
examples = settings(deadline=None, max_examples=25)
many_examples = settings(deadline=None, max_examples=300)


class Lines:
    """A destination that keeps what it is given."""

    request_id = "a request"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> bool:
        """Keep a line."""
        self.lines.append(line)
        return True


def lines_of(log: Callable[[], object]) -> list[str]:
    """Return the lines that a call logs."""

    def collect() -> list[str]:
        lines = Lines()
        destination.set(lines)
        log()
        return lines.lines

    return contextvars.copy_context().run(collect)


def record_of(log: Callable[[], object]) -> dict[str, Any]:
    """Return the one record that a call logs."""
    (line,) = lines_of(log)
    record: dict[str, Any] = json.loads(line)
    return record


def emit(message: object, *arguments: object) -> None:
    """Log without pytest's own handler, which raises what ours deals with."""
    app_log.handler.handle(
        logging.LogRecord("a", logging.INFO, __file__, 1, message, arguments, None)
    )


def as_json_has_it(text: str) -> str:
    """Return a text whose surrogates are paired where they meet, as any JSON parser reads them."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def with_examples(test: Any) -> Any:
    """Give a property's first text the texts that would forge a record."""
    for text in FORGERIES:
        test = example(text)(test)
    return test


@with_examples
@many_examples
@given(ANY_TEXT)
def test_a_record_is_one_line_that_a_terminal_can_show(text: str) -> None:
    """No text puts a line end, a control character or half a character into the line."""
    (line,) = lines_of(lambda: logger.info("%s", text, extra={"key": text, f"a {text}": 1}))

    categories = {unicodedata.category(character) for character in line}
    assert categories.isdisjoint({"Cc", "Cs", "Zl", "Zp"})


@with_examples
@many_examples
@given(ANY_TEXT)
def test_a_message_comes_back_exactly(text: str) -> None:
    """Parsing a record gives back the text that was logged, as text."""
    assert record_of(lambda: logger.info("%s", text))["message"] == as_json_has_it(text)


@with_examples
@many_examples
@given(ANY_TEXT)
def test_a_message_without_arguments_is_no_format(text: str) -> None:
    """A text logged by itself is not searched for placeholders."""
    assert record_of(lambda: logger.info(text))["message"] == as_json_has_it(text)


@with_examples
@many_examples
@given(ANY_TEXT)
def test_an_exception_s_text_is_in_its_record(text: str) -> None:
    """Whatever text an exception has, its record is one line and ends with that text."""
    error = ValueError(text)

    record = record_of(lambda: logger.error("failed", exc_info=error))

    assert record["exception"].endswith(as_json_has_it(f"ValueError: {text}" if text else ""))


def notify(handler: Handler, **query: str) -> tuple[Context, dict[str, Any]]:
    """Invoke the notification route with query parameters."""
    context = Context()
    event = events.load("http-api-notification-plain", rawQueryString=urlencode(query))
    return context, handler(event, context)


def lines(cloud: Cloud, context: Context) -> list[str]:
    """Return the lines of an invocation's one object, split wherever any reader might."""
    (key,) = cloud.objects(context.aws_request_id)
    return cloud.body(key).decode().splitlines()


def messages(cloud: Cloud, context: Context) -> list[str]:
    """Return the messages of an invocation's one object."""
    return [json.loads(line)["message"] for line in lines(cloud, context)]


@with_examples
@examples
@given(TEXT)
def test_query_text_comes_back_exactly(handler: Handler, cloud: Cloud, text: str) -> None:
    """Any text as q is one record, whose message ends with exactly that text."""
    context, answer = notify(handler, q=text)

    found = [f"found query: {text}"] if text else []
    assert answer["statusCode"] == 200
    assert messages(cloud, context) == [*found, "message to jane@example.com"]


@with_examples
@examples
@given(TEXT)
def test_message_text_comes_back_exactly(handler: Handler, cloud: Cloud, text: str) -> None:
    """Any text as message is one record, whose message ends with exactly that text."""
    context, answer = notify(handler, message=text)

    sent = [f"notification for jane@example.com: {text}"] if text else []
    assert answer["statusCode"] == 200
    assert messages(cloud, context) == ["message to jane@example.com", *sent]


@pytest.mark.parametrize("key", ["q", "message"])
@pytest.mark.parametrize("character", ["a", "\n", "\U0001f338"])
def test_a_text_of_1000_characters_is_taken(
    handler: Handler, cloud: Cloud, key: str, character: str
) -> None:
    """The limit counts characters, not bytes, and is 1,000 inclusive."""
    context, answer = notify(handler, **{key: character * 1000})

    assert answer["statusCode"] == 200
    assert any(message.endswith(character * 1000) for message in messages(cloud, context))


@pytest.mark.parametrize("key", ["q", "message"])
def test_a_text_of_1001_characters_is_refused(handler: Handler, cloud: Cloud, key: str) -> None:
    """A longer text is a 422 that names the parameter, and nothing is recorded."""
    context, answer = notify(handler, **{key: "a" * 1001})

    assert answer["statusCode"] == 422
    assert [error["loc"] for error in json.loads(answer["body"])["detail"]] == [["query", key]]
    assert cloud.objects(context.aws_request_id) == []


PATH_CHARACTERS = CHARACTERS.filter(lambda character: character != "/")
ADDRESSES = (
    st.emails().filter(lambda address: "/" not in address)
    | st.text(PATH_CHARACTERS, min_size=1, max_size=30)
    | st.text(PATH_CHARACTERS, min_size=1, max_size=10).map(lambda name: f"{name}@example.com")
    | st.text(PATH_CHARACTERS, min_size=1, max_size=10).map(lambda name: f"jane@{name}.com")
)


def validated(address: str) -> str | None:
    """Return the address as pydantic's own validation has it, None when it is no address."""
    try:
        return validate_email(address)[1]
    except PydanticCustomError:
        return None


@example("jane@example.com\n")
@example('jane@example.com"}\n{"message":"forged"}')
@example('"jane\n"@example.com')
@example("jane\u2028@example.com")
@example("jörg@例え.com")
@example("Jane <jane@example.com>")
@settings(deadline=None, max_examples=100)
@given(ADDRESSES)
def test_an_address_is_one_record_or_none(handler: Handler, cloud: Cloud, address: str) -> None:
    """A valid address is served with one record; any other is a 422 naming email, without one."""
    context = Context()
    event = events.load("http-api-notification-plain", rawPath=ROUTE + address)

    answer = handler(event, context)

    if valid := validated(address):
        assert answer["statusCode"] == 200
        assert messages(cloud, context) == [f"message to {valid}"]
    else:
        assert answer["statusCode"] == 422
        assert [error["loc"] for error in json.loads(answer["body"])["detail"]] == [
            ["path", "email"]
        ]
        assert cloud.objects(context.aws_request_id) == []


def test_a_record_has_the_fields_of_the_design(
    handler: Handler, cloud: Cloud, context: Context
) -> None:
    """Each record has its time in UTC, level, message, service and request id."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    handler(events.load("http-api-notification-plain"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["timestamp"].endswith("Z")
    assert before <= datetime.fromisoformat(record.pop("timestamp")) <= datetime.now(UTC)
    expected = {
        "level": "INFO",
        "message": "message to jane@example.com",
        "service": "afterword",
        "request_id": context.aws_request_id,
    }
    assert expected.items() <= record.items()


def test_a_failed_task_s_record_has_the_fields_of_the_design(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """The record of a failed task has its name, status, duration and traceback beside the rest."""
    handler = make_handler(failing_task())

    handler(sources.request("http-api", "/"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert record["request_id"] == context.aws_request_id
    assert (record["level"], record["status"]) == ("ERROR", "failed")
    assert record["task"] == f"{__name__}.failing"
    assert record["duration_ms"] >= 0
    assert record["exception"].endswith("ValueError: bad\nvalue")


def failing() -> None:
    """Fail."""
    raise ValueError("bad\nvalue")


def failing_task() -> FastAPI:
    """Return an application whose / adds a task that fails."""
    app = FastAPI()

    @app.get("/")
    async def endpoint(background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(failing)

    return app


OWN_FIELDS = ["timestamp", "level", "service", "request_id"]


@pytest.mark.parametrize("key", OWN_FIELDS)
def test_extra_does_not_replace_a_field(key: str) -> None:
    """A value given through extra never takes the place of the record's own."""
    record = record_of(lambda: logger.info("true", extra={key: "forged", "other": 1}))

    assert record[key] != "forged"
    assert record["other"] == 1


def test_extra_cannot_hold_a_message() -> None:
    """The logging module itself refuses a message in extra."""
    with pytest.raises(KeyError, match="message"):
        logger.info("true", extra={"message": "forged"})


@pytest.fixture
def appended() -> Iterator[None]:
    """Keys appended to the logger are removed after the test."""
    keys = [*OWN_FIELDS, "message", "other"]
    logger.append_keys(**dict.fromkeys(keys, "forged"))
    yield
    logger.remove_keys(["timestamp", "level", "request_id", "message", "other"])
    logger.append_keys(service="afterword")


@pytest.mark.usefixtures("appended")
def test_appended_keys_do_not_replace_a_field() -> None:
    """Keys given by Powertools' append_keys never replace the record's own fields."""
    record = record_of(lambda: logger.info("true"))

    assert {key for key, value in record.items() if value == "forged"} == {"other"}


def test_extra_does_not_replace_an_exception() -> None:
    """The traceback of an exception wins over a value of that name."""
    error = ValueError("true")

    record = record_of(
        lambda: logger.error("failed", exc_info=error, extra={"exception": "forged"})
    )

    assert record["exception"].endswith("ValueError: true")


class Textless:
    """An object whose text and repr raise."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list..."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cyclic() -> dict[str, Any]:
    """Return a dict that contains itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


VALUES = [
    object(),
    Textless(),
    nested(100_000),
    cyclic(),
    float("nan"),
    float("inf"),
    b"bytes",
    {1, 2},
    {(1, 2): 3},
    {None: 1},
    datetime.now(UTC),
    ValueError("x"),
    "\ud800",
    10**400,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_that_json_lacks_does_not_lose_its_record(value: object) -> None:
    """Whatever is given as extra, the record is there, and its other values with it."""
    record = record_of(lambda: logger.info("kept", extra={"value": value, "other": "kept too"}))

    assert (record["message"], record["other"]) == ("kept", "kept too")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_message_that_is_no_text_is_recorded(value: object) -> None:
    """Whatever object is logged as the message, there is a record of it."""
    assert "message" in record_of(lambda: emit(value))


@pytest.mark.parametrize(
    ("message", "arguments"),
    [("%d", ("seven",)), ("%s %s", ("one",)), ("none", ("one",)), ("%s", (Textless(),))],
)
def test_arguments_that_do_not_fit_do_not_lose_the_record(
    message: str, arguments: tuple[object, ...]
) -> None:
    """A format that its arguments do not fit is recorded as it stands."""
    assert record_of(lambda: emit(message, *arguments))["message"].startswith(message)


def test_a_dict_as_message_stays_an_object() -> None:
    """A dict that is logged is an object in the record, as with Powertools anywhere."""
    assert record_of(lambda: logger.info({"order": 7}))["message"] == {"order": 7}


ODD = ['a"b', "a\nb", "a\u2028b", "\ud800", "", None, 7]


@pytest.mark.parametrize("value", ODD, ids=repr)
@pytest.mark.parametrize("attribute", ["name", "levelname", "funcName"])
def test_a_record_that_came_from_elsewhere_is_one_of_json(attribute: str, value: object) -> None:
    """Made from what another process sent, by ``makeLogRecord``, it may have any attributes."""
    foreign = logging.makeLogRecord({"name": "a", "msg": "kept", attribute: value})

    assert record_of(lambda: app_log.handler.handle(foreign))["message"] == "kept"


def test_a_record_with_a_message_of_its_own_kind_is_recorded() -> None:
    """A class of records may make what it likes of its message."""

    class Odd(logging.LogRecord):
        def getMessage(self) -> Any:  # noqa: N802 - logging's name
            return float("nan")

    odd = Odd("a", logging.INFO, __file__, 1, "", (), None)

    assert record_of(lambda: app_log.handler.handle(odd))["message"] == "nan"


def test_a_stack_that_was_asked_for_is_recorded() -> None:
    """stack_info=True puts the caller's stack into the record."""
    record = record_of(lambda: logger.info("here", stack_info=True))

    assert "in test_a_stack_that_was_asked_for_is_recorded" in record["stack"]


def logging_app(log: Callable[[], None]) -> FastAPI:
    """Return an application whose / calls a function in a thread."""
    app = FastAPI()

    @app.get("/")
    def endpoint() -> None:
        log()

    return app


def test_a_library_s_records_are_in_the_same_object(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """Records of any logger are among the application's own, in order, each once."""

    def log() -> None:
        logger.info("ours")
        logging.getLogger("some.library").warning("theirs: %s", "careful")
        logger.info("ours again")

    make_handler(logging_app(log))(sources.request("http-api", "/"), context)

    assert len(cloud.objects(context.aws_request_id)) == 1
    assert [(r["logger"], r["message"]) for r in cloud.records(context.aws_request_id)] == [
        ("afterword", "ours"),
        ("some.library", "theirs: careful"),
        ("afterword", "ours again"),
    ]


def test_a_thread_without_context_logs_to_the_active_invocation(
    make_handler: MakeHandler, cloud: Cloud, context: Context
) -> None:
    """A plain thread knows no invocation; what it logs is in the object of the one that runs."""

    def log() -> None:
        thread = threading.Thread(target=lambda: logger.warning("from a thread"))
        thread.start()
        thread.join()

    make_handler(logging_app(log))(sources.request("http-api", "/"), context)

    (record,) = cloud.records(context.aws_request_id)
    assert (record["message"], record["level"]) == ("from a thread", "WARNING")
    assert record["request_id"] == context.aws_request_id


def test_outside_an_invocation_records_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """Under uvicorn, or between invocations, a record is one line on stdout."""
    contextvars.Context().run(logger.info, "a\nb")

    record = json.loads(capsys.readouterr().out)
    assert record["message"] == "a\nb"
    assert "request_id" not in record


def test_pydantic_s_own_validation_is_what_the_route_uses() -> None:
    """The property above compares with the type that the route declares."""
    adapter = pydantic.TypeAdapter(pydantic.EmailStr)

    assert adapter.validate_python("Jane <jane@EXAMPLE.com>") == validated(
        "Jane <jane@EXAMPLE.com>"
    )
