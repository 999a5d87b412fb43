"""A server of our own whose models a test loads and unloads, and what it holds in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import server.command
import server.launch
from server.processes import process_table
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer
from tests.conformance.graph import KIND

_SHM = Path("/dev/shm")  # noqa: S108 - Triton puts its own files there


def settings_for(repository: Path, **values: Any) -> Settings:
    """Makes the settings that serve a folder of models on free ports."""
    return Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        device="gpu" if KIND == "KIND_GPU" else "cpu",
        config=PLAIN_CONFIG,
        model_repository=repository,
        exit_timeout=15,
        **values,
    )


@contextmanager
def explicit_server(repository: Path) -> Iterator[TritonServer]:
    """Runs a server that loads nothing until it is asked to.

    Args:
        repository: The folder of models.

    Yields:
        The server.
    """
    plain = server.command.server_command

    def command(*args: Any, **kwargs: Any) -> list[str]:
        return [each for each in plain(*args, **kwargs) if each != "--load-model=*"]

    with patch.object(server.launch, "server_command", command):
        started = TritonServer(settings_for(repository, model_control="explicit"))
        started.start()
    try:
        yield started
    finally:
        started.stop()


def memory_kilobytes(triton: TritonServer) -> int:
    """Adds up what the server and the processes of its models hold in memory of their own."""
    total = 0
    for process in process_table():
        if process.group == triton.pid:
            status = Path(f"/proc/{process.pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            total += int(fields.get("RssAnon", "0 kB").split()[0])
    return total


def shared_memory_files() -> dict[str, int]:
    """Lists the shared memory of this process's servers, and the blocks that it fills."""
    prefix = f"triton_{os.getpid()}_"
    return {path.name: path.stat().st_blocks for path in _SHM.glob(f"{prefix}*")}


def processes(triton: TritonServer) -> int:
    """Counts the server's processes."""
    return sum(process.group == triton.pid for process in process_table())
