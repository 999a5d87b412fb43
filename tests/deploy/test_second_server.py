"""A second server runs for as long as the command that asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from deploy.cluster.managed_process import ManagedProcess
from deploy.cluster.second_server import SecondServer, request_file
from server.ports import Ports, settle_ports
from server.settings import Settings
from tests.deploy.cluster import eventually

# Calls itself ready as Triton does, and ends as a server of ours does.
_SERVER = """
import http.server, os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
address = "127.0.0.1", int(sys.argv[1])
http.server.HTTPServer(address, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def second_server(folder: Path) -> SecondServer:
    ready = folder / "served" / "v2" / "health" / "ready"
    ready.parent.mkdir(parents=True)
    ready.touch()
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=folder)

    def prepare() -> tuple[ManagedProcess, Ports]:
        ports = settle_ports(settings)
        command = [sys.executable, "-c", _SERVER, str(ports.http)]
        log = folder / "log"
        return ManagedProcess("r2", command, dict(os.environ), log, folder=folder / "served"), ports

    return SecondServer(folder, prepare)


def test_it_is_given_once_it_is_ready_and_ends_when_it_is_told(tmp_path: Path) -> None:
    second = second_server(tmp_path)
    assert second.start() is None
    (process,) = second.starting
    given: list[tuple[ManagedProcess, Ports]] = []

    def ready() -> bool:
        given.extend(each for each in [second.start()] if each)
        return bool(given)

    assert eventually(ready)
    assert given[0][0] is process
    assert second.processes == []
    second.end(process)
    assert second.processes == [process]
    assert eventually(process.ended)
    second.end()
    assert second.processes == []


def test_one_that_is_not_ready_yet_ends_too(tmp_path: Path) -> None:
    second = second_server(tmp_path)
    second.start()
    (process,) = second.starting
    second.end()
    assert second.starting == []
    process.kill()


def test_the_request_of_a_command_that_was_killed_is_none(tmp_path: Path) -> None:
    second = second_server(tmp_path)
    assert not second.requested
    command = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    request_file(tmp_path).write_text(str(command.pid))
    assert second.requested
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    assert not second.requested
    request_file(tmp_path).write_text("")
    assert not second.requested
    second.forget_requests()
    assert not request_file(tmp_path).exists()
