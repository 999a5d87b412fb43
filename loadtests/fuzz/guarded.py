"""The server that is fuzzed: a Triton with a guard in front of it, or for comparison without."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import Self

from loadtests.load.target import Target
from server.settings import Settings
from server.triton import TritonServer


class GuardedServer:
    """A Triton of its own behind a guard, for the length of a `with` block.

    Args:
        repository: The models that it serves.
        bare: Whether there is no guard.

    Attributes:
        triton: The Triton behind it.
        pids: The processes whose end is a finding; those of the models are Triton's children.
    """

    def __init__(self, repository: Path, *, bare: bool = False) -> None:
        self._bare = bare
        self.pids: dict[str, int] = {}
        self.triton = TritonServer(
            Settings(
                http_port=0,
                grpc_port=0,
                metrics_port=0,
                model_repository=repository,
                guard="off" if bare else "on",
            )
        )

    def __enter__(self) -> Self:
        self.triton.start()
        self.pids = {"tritonserver": self.triton.pid}
        listener = Target.at(self.http_url).pid
        if not self._bare and listener is not None:
            self.pids["guard"] = listener
        return self

    def __exit__(self, *_: object) -> None:
        self.triton.kill()

    @property
    def http_url(self) -> str:
        """`host:port` of HTTP, as callers know it."""
        return self.triton.http_url

    @property
    def grpc_url(self) -> str:
        """The same of gRPC."""
        return self.triton.grpc_url

    @property
    def metrics_url(self) -> str:
        """The same of the metrics."""
        return self.triton.metrics_url
