"""A guard of its own for a test, in a process of its own as it is in use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from server.triton import TritonServer

_ROOT = Path(__file__).resolve().parents[2]
_NOBODY = "127.0.0.1:9"


class RunningGuard:
    """A guard that runs.

    Args:
        process: The process.
        log: What it writes to its standard error.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        line = process.stdout.readline()
        found = dict(re.findall(r"(HTTP|gRPC|metrics) (\S+?:\d+)", line))
        assert len(found) == 3, (line, self.log)
        self.http_url, self.metrics_url = found["HTTP"], found["metrics"]
        self.host, _, port = found["gRPC"].rpartition(":")
        self.port = int(port)

    @property
    def grpc_url(self) -> str:
        """`host:port` of its gRPC service."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def memory_bytes(self) -> int:
        """What it holds in memory."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextmanager
def running_guard(
    folder: Path, triton: TritonServer | None = None, **settings: object
) -> Iterator[RunningGuard]:
    """Runs a guard.

    Args:
        folder: An empty folder, for its log and its quarantine.
        triton: What it stands in front of; None for nothing at all.
        settings: Its settings by the names of their variables.
    """
    environment = os.environ | {
        "HTTP_PORT": "0",
        "GRPC_PORT": "0",
        "METRICS_PORT": "0",
        "UPSTREAM_HTTP": triton.http_url if triton else _NOBODY,
        "UPSTREAM_GRPC": triton.grpc_url if triton else _NOBODY,
        "UPSTREAM_METRICS": triton.metrics_url if triton else _NOBODY,
        "MODEL_REPOSITORY": str(triton.settings.model_repository if triton else folder),
        "QUARANTINE_DIR": str(folder / "quarantine"),
        **{name: str(value) for name, value in settings.items()},
    }
    log = folder / "guard.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "server.guard"],
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield RunningGuard(process, log)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
