"""The Docker engine in whose containers `sam local` runs functions."""

import contextlib
import platform
import subprocess

# The template's names of processors, by `uname`'s.
_ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64", "AMD64": "x86_64", "x86_64": "x86_64"}


class NoDocker(Exception):
    """There is no Docker engine, or it does not do what it is asked."""


def architecture() -> str:
    """Return the processor of this machine, as the template's Architecture has it."""
    return _ARCHITECTURES[platform.machine()]


def docker(*arguments: str) -> str:
    """Run the `docker` command; returns what it prints. Raises NoDocker with its complaint."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own arguments
            ["docker", *arguments],  # noqa: S607 - the user's own
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise NoDocker("there is no docker command") from None
    if ended.returncode:
        raise NoDocker(ended.stderr.strip().partition("\n")[0] or f"{ended.args} failed")
    return ended.stdout.strip()


def storage_driver() -> str:
    """Return how the engine stores images and containers. Raises NoDocker when none answers."""
    return docker("info", "--format", "{{.Driver}}")


def addresses_of_host() -> tuple[str, str]:
    """Return where to listen so that containers reach it, and the host that they then ask for.

    The loopback address is not reached from a container, and others are open to the network.
    Raises NoDocker.
    """
    if docker("info", "--format", "{{.OperatingSystem}}") == "Docker Desktop":
        # Its containers are in a virtual machine, for which this is the host's loopback address.
        return "127.0.0.1", "host.docker.internal"
    template = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    gateway = docker("network", "inspect", "bridge", "--format", template)
    if not gateway:
        raise NoDocker("Docker's network `bridge` has no gateway")
    return gateway, gateway


def remove_containers(variable: str) -> None:
    """Remove the containers, ended ones too, that have `NAME=value` in their environment.

    Raises NoDocker.
    """
    template = '{{range .Config.Env}}{{.}}{{"\\n"}}{{end}}'
    for container in docker("ps", "--all", "--quiet").split():
        with contextlib.suppress(NoDocker):  # which somebody else has removed meanwhile
            if variable in docker("inspect", "--format", template, container).splitlines():
                docker("rm", "--force", container)


def provide(image: str) -> None:
    """Have an image on this machine. Raises NoDocker when it neither is there nor can be pulled."""
    try:
        docker("image", "inspect", "--format", "{{.Id}}", image)
    except NoDocker:
        docker("pull", "--quiet", image)
