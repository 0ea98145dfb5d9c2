"""Credentials of an environment that Lambda starts from a snapshot.

Such an environment has none in its variables, where they would be the snapshot's and expired; they
are at an endpoint of its own ("Using environment variables with SnapStart" in the Lambda
developer guide), as in a container, and are asked for when they are needed. obstore knows that
endpoint only with a token in a file, Lambda has its token in a variable.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import S3Credential

ATTEMPTS = 3
"""As the AWS SDKs have it. To the store, credentials that cannot be had are a refusal for good."""
SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ContainerCredentials:
    """Asks the endpoint at ``uri``, with ``token``; obstore asks it again before they expire."""

    uri: str
    token: str

    def __call__(self) -> S3Credential:
        """Return the credentials of now. Raises OSError when the endpoint does not give them."""
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(OSError):
                return self._ask()
        return self._ask()

    def _ask(self) -> S3Credential:
        # Not before it is needed: most environments have their credentials in variables.
        from urllib.request import ProxyHandler, Request, build_opener  # noqa: PLC0415

        request = Request(self.uri, headers={"Authorization": self.token})  # noqa: S310 - Lambda's
        # Past any proxy, which neither reaches the endpoint nor is to have the token.
        with build_opener(ProxyHandler({})).open(request, timeout=SECONDS) as response:
            given = json.load(response)
        return {
            "access_key_id": given["AccessKeyId"],
            "secret_access_key": given["SecretAccessKey"],
            "token": given["Token"],
            "expires_at": datetime.fromisoformat(given["Expiration"]),
        }
