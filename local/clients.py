"""boto3 clients of the local services, whatever AWS settings their user has."""

from collections.abc import Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

# botocore's (configuration key, environment variable, default, conversion): none is looked up, so
# that AWS_PROFILE and ~/.aws/config, which are for the real AWS, are not.
_NOT_READ = (None, None, None, None)


def session_for(environ: Mapping[str, str]) -> boto3.Session:
    """Make a session with the region and the credentials in `environ` (see MotoServer)."""
    variables: Any = dict.fromkeys(("profile", "config_file", "credentials_file"), _NOT_READ)
    return boto3.Session(
        botocore_session=botocore.session.Session(variables),
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_REGION"],
    )


def client_for(service: str, environ: Mapping[str, str]) -> Any:
    """Make a client of `service` at the endpoint in `environ`; it fails at once, or not at all."""
    make: Any = session_for(environ).client
    config = Config(retries={"total_max_attempts": 1})
    return make(service, endpoint_url=environ["AWS_ENDPOINT_URL"], config=config)
