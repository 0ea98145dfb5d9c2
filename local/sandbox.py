"""What the template declares, in moto, for functions that run in containers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import sam_cli, stack
from local.aws import MotoServer, without_settings
from local.docker import addresses_of_host

API = "ApiFunction"


class Sandbox:
    """The stack, and how this machine and the containers on it find it."""

    def __init__(self, moto: MotoServer, host: str) -> None:
        """`host` is what containers call this machine."""
        self.environ = moto.environ
        self.stack = stack.create(moto.environ)
        port = moto.endpoint.rpartition(":")[2]
        self.endpoint_in_containers = f"http://{host}:{port}"

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self.stack.functions[API].environ["BUCKET"]

    @property
    def sam_environ(self) -> dict[str, str]:
        """The environment of SAM CLI, whose credentials the functions get."""
        # With the endpoint, because it asks STS whose they are, and tries for seconds to reach AWS.
        return {**without_settings(), **self.environ}

    def template(self, built: Path, name: str) -> Path:
        """Write a copy of a built template as `name`, whose functions use what is here."""
        environ = {**self.environ, "AWS_ENDPOINT_URL": self.endpoint_in_containers}
        functions = self.stack.functions.items()
        variables = {key: {**each.environ, **environ} for key, each in functions}
        return sam_cli.adapt(built, name, variables)


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Have one for as long as the `with` block lasts. Raises NoDocker."""
    listen, host = addresses_of_host()
    with MotoServer(listen) as moto:
        yield Sandbox(moto, host)
