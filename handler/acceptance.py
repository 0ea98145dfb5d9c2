"""Accepts the durable tasks of one request before its response leaves."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from mangum.types import Scope

from app import durable
from app.durable import Submission
from app.log import logger
from handler.errors import Conflict, NotAccepted, StoreError
from handler.exchange import Exchange
from handler.ledger import Ledger
from handler.store import Object, Store

DAY_SECONDS = 86_400
LONGEST_KEY = 255
SECONDS = 5.0
RETRY_AFTER = [b"retry-after", b"5"]
_BOUNDARY = re.compile(rb'boundary="?([^";]+)')


class Acceptance:
    """The acceptor of one request: writes to the ledger, and answers when it cannot.

    With an ``Idempotency-Key`` the same request within a day gets the same task ids, and a task
    that is there already is not written again; another request with the same key is a 422.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        exchange: Exchange,
        scope: Scope,
        body: bytes,
        request: str,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._exchange = exchange
        self._request_id = request
        self._reserved: deque[str] = deque()
        self._recorded = False
        self._own: Object | None = None
        self._ids: list[str] = []
        self._new: list[str] = []
        self._scope = scope
        self._body = body
        self._key: bytes | None = dict(scope.get("headers", ())).get(b"idempotency-key")

    async def prepare(self) -> None:
        """Look the request's key up, if it has one. Raises NotAccepted when the answer is given."""
        if self._key is None:
            return
        if not 0 < len(self._key) <= LONGEST_KEY:
            raise self._refused(f"Idempotency-Key takes 1 to {LONGEST_KEY} characters")
        try:
            there = await self._store.get(self._record_key, self._soon())
        except StoreError as error:
            raise self._unavailable(error) from error
        if there is not None and (ids := self._recorded_ids(there)) is not None:
            self._reserved.extend(ids)
            self._recorded = True

    def next_id(self) -> str:
        """Return the id of the next task, and use it up."""
        return self._reserved.popleft() if self._reserved else durable.new_id()

    def reserve_id(self, task_id: str | None) -> str:
        """Return the id that the next task will have."""
        if task_id is not None:
            self._reserved.appendleft(task_id)
        elif not self._reserved:
            self._reserved.append(durable.new_id())
        return self._reserved[0]

    def announce(self) -> None:
        """Hold the response until the task is accepted."""
        self._exchange.hold()

    async def accept(self, submissions: Sequence[Submission]) -> None:
        """Write the tasks, all or none. Raises NotAccepted when the client was told 503 or 422."""
        try:
            if self._key is not None and not self._recorded:
                await self._record(submissions)
            new = await self._ledger.accept(submissions, self._request_id, again=self._recorded)
        except StoreError as error:
            await self._ledger.cancel(self._new, self._request_id)
            raise self._unavailable(error) from error
        self._new += new
        for submission in submissions:
            submission.accepted = True
        self._exchange.accepted([submission.id for submission in submissions])

    async def _record(self, submissions: Sequence[Submission]) -> None:
        """Write down which ids this request's key stands for, those of earlier groups included."""
        there = self._own
        if there is None:
            there = await self._store.get(self._record_key, self._soon())
            if there is not None and (recorded := self._recorded_ids(there)) is not None:
                # Another request with the same key came between.
                self._recorded = True
                for submission, task_id in zip(submissions, recorded, strict=False):
                    submission.id = task_id
                return
        ids = [*self._ids, *(submission.id for submission in submissions)]
        record = {"fingerprint": self._fingerprint, "ids": ids, "created": time.time()}
        body = json.dumps(record).encode()
        try:
            e_tag = await self._store.put(
                self._record_key, body, self._soon(), replaces=there, anew=there is None
            )
        except Conflict:
            self._own = None
            await self._record(submissions)
        else:
            self._own, self._ids = Object(body, e_tag), ids

    def _recorded_ids(self, there: Object) -> list[str] | None:
        """Return the ids of an earlier acceptance; None when it is too old to count."""
        record: dict[str, Any] = json.loads(there.body)
        if record["created"] + DAY_SECONDS < time.time():
            return None
        if record["fingerprint"] != self._fingerprint:
            raise self._refused("this Idempotency-Key was used with another request")
        ids: list[str] = record["ids"]
        return ids

    @property
    def _record_key(self) -> str:
        # A key is its caller's: nobody else learns of the tasks by it, nor is kept from using it.
        named = b"\0".join((_caller(self._scope).encode(), self._key or b""))
        return f"tasks/idempotency/{hashlib.sha256(named).hexdigest()}.json"

    @property
    def _fingerprint(self) -> str:
        headers = dict(self._scope["headers"])
        body = self._body
        # A client that sends a form again makes a new boundary for it.
        if boundary := _BOUNDARY.search(headers.get(b"content-type", b"")):
            body = body.replace(boundary[1], b"")
        parts = (self._scope["method"].encode(), self._scope["path"].encode())
        digest = hashlib.sha256(b"\0".join((*parts, self._scope["query_string"], body)))
        return digest.hexdigest()

    def _soon(self) -> float:
        return asyncio.get_running_loop().time() + SECONDS

    def _unavailable(self, error: StoreError) -> NotAccepted:
        logger.error("503: durable tasks not accepted: %s", error)
        reason = "the tasks of this request could not be accepted; nothing of it will run"
        self._exchange.refuse(503, reason, RETRY_AFTER)
        return NotAccepted(reason)

    def _refused(self, reason: str) -> NotAccepted:
        logger.warning("422: %s", reason)
        # As FastAPI says what is wrong with a request.
        place = ["header", "Idempotency-Key"]
        detail = [{"type": "value_error", "loc": place, "msg": reason, "input": None}]
        self._exchange.refuse(422, detail)
        return NotAccepted(reason)


def _caller(scope: Scope) -> str:
    """Return who API Gateway says is calling, or else what the request brings to prove it.

    A signature is different each time, so that the header alone would not do.
    """
    context = scope.get("aws.event", {}).get("requestContext", {})
    authorizer = _object(context.get("authorizer"))
    claims = _object(_object(authorizer.get("jwt")).get("claims"))
    claims = claims or _object(authorizer.get("claims"))
    if "sub" in claims:
        return f"{claims.get('iss')} {claims['sub']}"
    iam, identity = _object(authorizer.get("iam")), _object(context.get("identity"))
    if user := iam.get("userArn") or identity.get("userArn"):
        return str(user)
    headers = dict(scope.get("headers", ()))
    proof = headers.get(b"authorization") or headers.get(b"x-api-key") or b""
    # A Lambda authorizer may have looked elsewhere. Many give every principal the same name.
    return proof.decode("latin-1") or str(authorizer.get("principalId", ""))


def _object(value: Any) -> dict[str, Any]:
    # A Lambda authorizer may name what it passes on like this, and make it a text.
    return value if isinstance(value, dict) else {}
