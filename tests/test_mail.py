"""E-mail by a real SMTP server, that also refuses, hangs and drops."""

from __future__ import annotations

import email
import json
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from email import policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from certificates import server_context
from conftest import Cloud, Context
from queueing import ids, notification, post

from app import mail
from app.main import app
from handler.errors import SettingsError
from handler.settings import Settings

Handler = Callable[[Any, Any], dict[str, Any]]
PATH = "/send-notification/ada@example.com"


class Inbox:
    """Takes mail, or answers with what it is told to."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.answers: list[str] = []
        self.encrypted: list[bool] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Take a message."""
        answer = self.answers.pop(0) if self.answers else "250 OK"
        self.encrypted.append(session.ssl is not None)
        if answer == "drop":
            server.transport.abort()
        if answer.startswith("250"):
            self.taken.append(email.message_from_bytes(envelope.content, policy=policy.default))
        return answer


@pytest.fixture
def inbox() -> Inbox:
    """An inbox of this test's own."""
    return Inbox()


@pytest.fixture
def smtp_url(inbox: Inbox) -> Iterator[str]:
    """A real SMTP server on a free port, without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}?from=shop@example.com"
    controller.stop()
    mail.configure(None)


@pytest.fixture
def send(
    make_handler: Callable[..., Handler], cloud: Cloud, sqs: Any, smtp_url: str
) -> Iterator[Callable[[], list[str]]]:
    """Send the notification of one accepted request; return the messages that come again."""
    from conftest import REGION

    from handler.environment import Environment
    from handler.worker import Worker

    api = make_handler(app, smtp_url=smtp_url)
    settings = Settings(
        bucket=cloud.bucket,
        s3_endpoint=cloud.endpoint,
        smtp_url=smtp_url,
        queue_url=sqs.url,
        dead_letter_queue_url=sqs.dead_url,
        region=REGION,
    )
    environment = Environment(app, settings, worker=True)
    worker = Worker(environment)
    (task_id,) = ids(api(post(PATH, "message=Your%20order%20has%20shipped"), Context()))

    def run() -> list[str]:
        event = sqs.deliver(notification(task_id))
        response = worker.handle(event, Context())
        return [each["itemIdentifier"] for each in response["batchItemFailures"]]

    run.task_id = task_id  # type: ignore[attr-defined]
    yield run
    environment.close()


def test_the_message_is_really_sent(send: Any, inbox: Inbox) -> None:
    """To the address, from the sender, with the task's id as its Message-ID."""
    assert send() == []

    (message,) = inbox.taken
    assert message["To"] == "ada@example.com"
    assert message["From"] == "shop@example.com"
    assert message["Message-ID"] == f"<{send.task_id}@afterword>"
    assert message.get_content().strip() == "Your order has shipped"


def test_a_refused_message_is_tried_again(send: Any, inbox: Inbox, cloud: Cloud) -> None:
    """The task waits in the queue with the server's answer as its error; then it is sent once."""
    inbox.answers = ["451 come back later"]
    assert len(send()) == 1
    state = json.loads(cloud.body(f"tasks/{send.task_id}/state.json"))
    assert (state["status"], "come back later" in state["error"]) == ("QUEUED", True)

    assert send() == []
    assert len(inbox.taken) == 1


def test_a_connection_that_is_dropped_mid_way_is_tried_again(send: Any, inbox: Inbox) -> None:
    """The server hangs up instead of confirming the message; the next attempt sends it."""
    inbox.answers = ["drop"]

    assert len(send()) == 1
    assert send() == []
    assert len(inbox.taken) == 1


@pytest.fixture
def tls_url(inbox: Inbox, tmp_path: Path) -> Iterator[str]:
    """A server that takes nothing before STARTTLS, with a certificate of its own."""
    context = server_context(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(
        inbox, hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True
    )
    controller.start()
    yield f"smtp://127.0.0.1:{port}"
    controller.stop()
    mail.configure(None)


def test_mail_is_encrypted_where_the_server_offers_it(
    tls_url: str, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By STARTTLS, with a certificate that is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    mail.configure(tls_url)

    mail.send(to="a@example.com", subject="x", text="x")

    assert inbox.encrypted == [True]


def test_a_server_that_is_not_who_it_says_gets_nothing(tls_url: str, inbox: Inbox) -> None:
    """A certificate that nobody vouches for is an error."""
    mail.configure(tls_url)

    with pytest.raises(ssl.SSLCertVerificationError):
        mail.send(to="a@example.com", subject="x", text="x")
    assert inbox.taken == []


def test_without_a_server_the_record_is_written_in_the_same_invocation(
    make_handler: Callable[..., Handler], cloud: Cloud, context: Context
) -> None:
    """As in FastAPI's documentation: no queue, no e-mail."""
    answer = make_handler(app)(post(PATH, "message=hello"), context)

    assert (answer["statusCode"], ids(answer)) == (200, [])
    assert cloud.messages(context.aws_request_id) == [
        "message to ada@example.com",
        "notification for ada@example.com: hello",
    ]


@pytest.fixture
def bad_server() -> Iterator[Callable[[bytes, bool], str]]:
    """A factory of servers that greet and then hang, or drop the connection."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []
    done = threading.Event()

    def make(greeting: bytes, hang: bool) -> str:  # noqa: FBT001
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                if hang:
                    done.wait()

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return f"smtp://127.0.0.1:{listener.getsockname()[1]}"

    yield make
    done.set()
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()
    mail.configure(None)


@pytest.mark.parametrize(("greeting", "hang"), [(b"", True), (b"220 hello\r\n", True)])
def test_a_server_that_hangs_is_given_up(
    bad_server: Callable[[bytes, bool], str],
    monkeypatch: pytest.MonkeyPatch,
    greeting: bytes,
    hang: bool,  # noqa: FBT001
) -> None:
    """An answer that does not come ends the attempt by its own timeout."""
    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.2)
    mail.configure(bad_server(greeting, hang))

    with pytest.raises(OSError, match="timed out"):
        mail.send(to="a@example.com", subject="x", text="x")


@pytest.mark.parametrize("greeting", [b"", b"220 hello\r\n"])
def test_a_server_that_drops_the_connection_is_an_error(
    bad_server: Callable[[bytes, bool], str], greeting: bytes
) -> None:
    """It counts as a failed attempt."""
    mail.configure(bad_server(greeting, False))  # noqa: FBT003

    with pytest.raises(OSError, match=r"."):
        mail.send(to="a@example.com", subject="x", text="x")


def test_a_password_is_not_sent_without_tls(smtp_url: str, inbox: Inbox) -> None:
    """The server offers none, so nothing is sent at all."""
    mail.configure(smtp_url.replace("smtp://", "smtp://user:secret@"))

    with pytest.raises(smtplib.SMTPException, match="no TLS"):
        mail.send(to="a@example.com", subject="x", text="x")
    assert inbox.taken == []


@pytest.mark.parametrize("field", ["to", "subject"])
def test_a_header_cannot_be_injected(smtp_url: str, field: str) -> None:
    """A newline in the address or the subject is refused before anything is sent."""
    mail.configure(smtp_url)
    arguments = {"to": "a@example.com", "subject": "x", "text": "x"}

    with pytest.raises(ValueError, match="linefeed"):
        mail.send(**arguments | {field: "a@example.com\r\nBcc: b@example.com"})  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://host", "smtp://", "smtp://host:port", "host:25"])
def test_a_bad_url_is_named_without_its_password(url: str) -> None:
    """The error says what is right, and does not repeat what may be secret."""
    with pytest.raises(SettingsError, match=r"SMTP_URL.*smtp\[s\]://user") as raised:
        Settings.from_environ({"BUCKET": "b", "SMTP_URL": url.replace("host", "u:secret@host")})

    assert "secret" not in str(raised.value)
