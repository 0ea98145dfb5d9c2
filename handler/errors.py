"""What this package raises."""

from app.errors import Unavailable


class AfterwordError(Exception):
    """The root of this package's errors."""


class SettingsError(AfterwordError):
    """An environment variable is missing or has a value that cannot be used."""


class UnsupportedEvent(AfterwordError):
    """The handler was invoked with an event that is no HTTP request."""


class BadRequest(AfterwordError):
    """The event is an HTTP request, and one that is not passed on. Answered with ``status``."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class RegistrationRefused(AfterwordError):
    """Lambda did not register the extension that responding first needs."""


class LifespanFailed(AfterwordError):
    """The application's lifespan did not start. The execution environment cannot serve."""


class StoreError(AfterwordError, Unavailable):
    """S3 did not answer in time, or refused."""


class Conflict(AfterwordError):
    """A conditional write found another object than the one that it was to replace."""


class NotAccepted(AfterwordError):
    """The durable tasks of a request were not accepted; the client was told so."""


class TaskFailed(AfterwordError):
    """An attempt at a durable task did not succeed; the message goes back to the queue."""


class MalformedMessage(AfterwordError):
    """A queue message is not the notification of a durable task."""


class MalformedPart(AfterwordError):
    """An object among the compacted ones that the compactor did not write."""


class CompactionFailed(AfterwordError):
    """Some hours could not be compacted. The next run tries again."""
