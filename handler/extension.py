"""Holds the execution environment awake after the response, as an internal Lambda extension.

Lambda ends an invocation, and freezes the environment, when the runtime and every extension have
asked for their next event. The response leaves when the runtime posts it; this extension asks for
its next event only when that invocation's tasks and flush are done.

Rules: "Lambda Extensions API", AWS Lambda Developer Guide. An internal extension has to register
during init, before the runtime asks for its first event, and may subscribe to INVOKE only.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from threading import Condition, Thread
from typing import Any

from app.log import logger
from handler.errors import RegistrationRefused

API = "/2020-01-01/extension"
NAME = "afterword"
REGISTER_SECONDS = 2.0
NEVER_CAME_SECONDS = 1.0
"""How long an invocation's handler may take to be called: it is not when the runtime could not read
the event."""
FAILURES = 3
"""In a row, after which the environment is given up."""


class Extension:
    """One registered internal extension.

    Raises RegistrationRefused when it cannot be registered. Call it from the thread that runs init:
    from one that comes late the registration is refused.
    """

    def __init__(self, runtime_api: str) -> None:
        self._runtime_api = runtime_api
        self._identifier = self._register()
        self._changed = Condition()
        self._running: str | None = None
        self._ended: str | None = None
        self._released: str | None = None

    def start(self) -> None:
        """Ask for events, in a thread of its own, until the environment ends."""
        Thread(target=self._hold, name="extension", daemon=True).start()

    def begin(self, request_id: str) -> bool:
        """Announce an invocation; False when it comes too late for the environment to be held.

        Its tasks then have to end before its response leaves.
        """
        with self._changed:
            if self._released == request_id:
                return False
            self._running = request_id
            self._changed.notify_all()
            return True

    def end(self, request_id: str) -> None:
        """Let the environment go: nothing of this invocation is left to do."""
        with self._changed:
            if self._running == request_id:
                self._running = None
            self._ended = request_id
            self._changed.notify_all()

    def _hold(self) -> None:
        failures = 0
        while failures < FAILURES:
            try:
                event = self._ask("GET", "/event/next")
                self._wait_for(event["requestId"], event["deadlineMs"] / 1000)
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, Lambda waits for the next ask
                failures += 1
                logger.error("extension: %s: %s", type(error).__name__, error)
        self._give_up()

    def _wait_for(self, request_id: str, deadline: float) -> None:
        """Return when the invocation has ended, did not begin, or is out of time."""
        with self._changed:
            self._changed.wait_for(
                lambda: request_id in (self._running, self._ended), NEVER_CAME_SECONDS
            )
            if request_id not in (self._running, self._ended):
                self._released = request_id
                return
            self._changed.wait_for(
                lambda: self._running != request_id, max(0.0, deadline - time.time())
            )

    def _give_up(self) -> None:
        # Lambda would wait for this extension, to the timeout, in every invocation to come. A new
        # environment serves them better; what is spooled is uploaded there.
        with self._changed:
            self._changed.wait_for(lambda: self._running is None)
        logger.critical("extension: gave up; ending this execution environment")
        sys.stdout.flush()
        os._exit(1)

    def _register(self) -> str:
        headers = {"Lambda-Extension-Name": NAME, "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self._runtime_api, timeout=REGISTER_SECONDS)
        try:
            connection.request("POST", f"{API}/register", '{"events": ["INVOKE"]}', headers)
            response = connection.getresponse()
            answer = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise RegistrationRefused(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        identifier = response.headers.get("Lambda-Extension-Identifier")
        if response.status != http.HTTPStatus.OK or not identifier:
            raise RegistrationRefused(f"{response.status} {answer}")
        return identifier

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        # No timeout: the environment may stand frozen for hours before the next event.
        connection = http.client.HTTPConnection(self._runtime_api)
        try:
            connection.request(
                method, API + path, headers={"Lambda-Extension-Identifier": self._identifier}
            )
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"{path}: {response.status} {body!r}")
        event: dict[str, Any] = json.loads(body)
        return event
