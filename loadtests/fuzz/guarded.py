"""The server that is fuzzed: a Triton with a guard in front of it, or for comparison without."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from server.parent_death import in_child
from server.ports import Ports, settle_ports
from server.readiness import is_ready, serves_metrics
from server.settings import Settings
from server.triton import TritonServer

_START_SECONDS = 30


class GuardedServer:
    """A Triton of its own behind a guard, for the length of a `with` block.

    Args:
        repository: The models that it serves.
        bare: Whether there is no guard.

    Attributes:
        triton: The Triton behind it.
    """

    def __init__(self, repository: Path, *, bare: bool = False) -> None:
        self._settings = Settings(
            http_port=0, grpc_port=0, metrics_port=0, model_repository=repository
        )
        self.triton = TritonServer(self._settings)
        self._bare = bare
        self._guard: subprocess.Popen[bytes] | None = None
        self._ports: Ports | None = None

    def __enter__(self) -> Self:
        self.triton.start()
        try:
            if not self._bare:
                self._start_guard()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._guard is not None:
            self._guard.terminate()
            try:
                self._guard.wait(10)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
        self.triton.kill()

    @property
    def http_url(self) -> str:
        """`host:port` that callers know, of HTTP."""
        return f"127.0.0.1:{self._ports.http}" if self._ports else self.triton.http_url

    @property
    def grpc_url(self) -> str:
        """The same of gRPC."""
        return f"127.0.0.1:{self._ports.grpc}" if self._ports else self.triton.grpc_url

    @property
    def metrics_url(self) -> str:
        """The same of the metrics."""
        return f"127.0.0.1:{self._ports.metrics}" if self._ports else self.triton.metrics_url

    @property
    def pids(self) -> dict[str, int]:
        """The processes whose end is a finding; those of the models are Triton's children."""
        guard = {} if self._guard is None else {"guard": self._guard.pid}
        return {"tritonserver": self.triton.pid, **guard}

    def _start_guard(self) -> None:
        taken = [int(url.rpartition(":")[2]) for url in (self.http_url, self.grpc_url)]
        self._ports = settle_ports(self._settings, taken)
        environment = {
            **os.environ,
            "BIND": "127.0.0.1",
            "HTTP_PORT": str(self._ports.http),
            "GRPC_PORT": str(self._ports.grpc),
            "METRICS_PORT": str(self._ports.metrics),
            "UPSTREAM_HTTP": self.triton.http_url,
            "UPSTREAM_GRPC": self.triton.grpc_url,
            "UPSTREAM_METRICS": self.triton.metrics_url,
            "MODEL_REPOSITORY": str(self._settings.model_repository),
        }
        self._guard = subprocess.Popen(
            [sys.executable, "-m", "server.guard"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=in_child(),  # noqa: PLW1509 - before any thread is started
        )
        deadline = time.monotonic() + _START_SECONDS
        while not (is_ready(self.http_url) and serves_metrics(self.metrics_url)):
            if self._guard.poll() is not None:
                raise LoadTestError(f"the guard ended with code {self._guard.returncode}")
            if time.monotonic() > deadline:
                raise LoadTestError(f"the guard was not ready within {_START_SECONDS} seconds")
            time.sleep(0.05)
