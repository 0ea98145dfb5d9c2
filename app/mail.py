"""Sends e-mail by SMTP, when there is an SMTP server to send it with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import smtplib

TIMEOUT_SECONDS = 10.0
"""How long the server may take for each answer."""
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where mail is sent from; ``smtps`` is TLS from the first byte, ``smtp`` upgrades to it."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None
    sender: str


_server: Server | None = None


def parse(url: str) -> Server:
    """Read ``smtp[s]://user:password@host:port?from=address``.

    The sender is ``from``, or the user when that is an address, or ``notifications@host``. Raises
    ValueError, without the password in it, when the URL is none of these.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError):
        port = 0
    if not port or not parts.hostname:
        raise ValueError("it must be smtp[s]://user:password@host:port")
    user = unquote(parts.username) if parts.username else None
    named = parse_qs(parts.query).get("from", [user if user and "@" in user else ""])[0]
    return Server(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port,
        user=user,
        password=unquote(parts.password) if parts.password else None,
        sender=named or f"notifications@{parts.hostname}",
    )


def configure(url: str | None) -> None:
    """Send mail by this server from now on; by none when it is None. Raises ValueError."""
    global _server  # noqa: PLW0603 - one server per process, as there is one log
    _server = parse(url) if url else None


def configured() -> bool:
    """Tell whether mail is really sent."""
    return _server is not None


def send(*, to: str, subject: str, text: str, message_id: str | None = None) -> None:
    """Send one message; ``message_id`` lets a second attempt be recognised.

    Raises ValueError for a header with a newline in it, OSError (smtplib's errors are) when the
    server does not take the message.
    """
    # Imported by the worker's first mail, not at start-up.
    import smtplib  # noqa: PLC0415
    from email.message import EmailMessage  # noqa: PLC0415
    from email.utils import formatdate  # noqa: PLC0415

    server = _server
    if server is None:
        raise RuntimeError("SMTP_URL is not set")
    message = EmailMessage()
    message["From"] = server.sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate(usegmt=True)
    if message_id is not None:
        message["Message-ID"] = f"<{message_id}@afterword>"
    message.set_content(text)
    kind = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    with kind(server.host, server.port, timeout=TIMEOUT_SECONDS) as connection:
        _secure(connection, server)
        connection.send_message(message)


def _secure(connection: smtplib.SMTP, server: Server) -> None:
    import smtplib  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    connection.ehlo()
    if server.scheme == "smtp" and connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        connection.ehlo()
    elif server.scheme == "smtp" and server.password:
        raise smtplib.SMTPException("the server offers no TLS; the password is not sent without")
    if server.user and server.password:
        connection.login(server.user, server.password)
