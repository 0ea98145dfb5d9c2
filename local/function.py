"""A function's configuration, and the environment variables its processes get."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PASSED_ON = ("PATH", "PYTHONPATH", "HOME", "LANG")


@dataclass(frozen=True)
class Function:
    """A function as it is deployed; `timeout` in seconds, `memory` in megabytes (not enforced)."""

    handler: str
    environ: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 30.0
    memory: int = 512
    name: str = "afterword"
    version: str = "$LATEST"
    # Whatever Python runs it here: awslambdaric asks for events in another way, and writes JSON
    # in another way, since python3.12.
    runtime: str = "python3.13"
    cwd: Path = field(default_factory=Path.cwd)
    freeze: bool = True
    on_output: Callable[[str], None] = print

    @property
    def region(self) -> str:
        """The region of the function and of everything it calls."""
        return self.environ.get("AWS_REGION", "us-east-1")

    @property
    def arn(self) -> str:
        """The function's name as callers give it."""
        return f"arn:aws:lambda:{self.region}:123456789012:function:{self.name}"

    def process_environ(self, runtime_api: str, tmpdir: Path, log_stream: str) -> dict[str, str]:
        """Everything in the environment of one of this function's processes.

        Nothing else of this process' own environment is passed on: what a function reads must
        be declared for it, here as when it is deployed.
        """
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # Tests of what a function does on Lambda Managed Instances give another type.
        default = {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}
        return (
            passed_on
            | default
            | dict(self.environ)
            | {
                "AWS_DEFAULT_REGION": self.region,
                "AWS_EXECUTION_ENV": f"AWS_Lambda_{self.runtime}",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
                "AWS_LAMBDA_FUNCTION_NAME": self.name,
                "AWS_LAMBDA_FUNCTION_VERSION": self.version,
                "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
                "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
                "AWS_LAMBDA_RUNTIME_API": runtime_api,
                "AWS_REGION": self.region,
                "LAMBDA_TASK_ROOT": str(self.cwd),
                "TMPDIR": str(tmpdir),
                "TZ": ":UTC",
                "_HANDLER": self.handler,
            }
        )
