"""What this package raises."""


class AfterwordError(Exception):
    """The root of this package's errors."""


class SettingsError(AfterwordError):
    """An environment variable is missing or has a value that cannot be used."""


class UnsupportedEvent(AfterwordError):
    """The handler was invoked with an event that is no HTTP request."""


class BadRequest(AfterwordError):
    """The event is an HTTP request, and one that cannot be read. Answered with 400."""


class RegistrationRefused(AfterwordError):
    """Lambda did not register the extension that responding first needs."""


class LifespanFailed(AfterwordError):
    """The application's lifespan did not start. The execution environment cannot serve."""
