"""A guard and its Triton are one server: they start, drain and end together."""

from __future__ import annotations

import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clients import GrpcClient, HttpClient, InvalidInputError, RetryPolicy, UnavailableError
from clients.base import ServingClient
from server.errors import ServerDiedError
from server.processes import living_in_group, process_table
from server.readiness import is_ready, model_index
from server.settings import Settings
from server.triton import TritonServer
from tests.guard.obedient_model import NAME, add_obedient_model

pytestmark = pytest.mark.e2e

PROTOCOLS = ("http", "grpc")


def settings(folder: Path, **values: Any) -> Settings:
    repository = folder / "models"
    if not repository.exists():
        add_obedient_model(repository)
    return Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        model_repository=repository,
        guard="on",
        quarantine_dir=folder / "quarantine",
        exit_timeout=15,
        **values,
    )


def client(server: TritonServer, protocol: str) -> ServingClient:
    once = RetryPolicy(retries=0)
    if protocol == "http":
        return HttpClient(server.http_url, retry=once, concurrency=8)
    return GrpcClient(server.grpc_url, retry=once)


def command(asked: ServingClient, words: str) -> str:
    answer = asked.infer(NAME, {"COMMAND": np.array([words.encode()], dtype=object)})
    return str(answer["DONE"][0].decode())


def guard_of_this_process() -> int:
    children = [p.pid for p in process_table() if p.parent == os.getpid()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return next(pid for pid, line in lines.items() if b"server.guard" in line)


def watch(server: TritonServer) -> None:
    """Watches a server until it has ended, which raises."""
    while True:
        server.check()


def status(address: str, method: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_guarded_server_answers_and_tells_nobody_what_is_closed(tmp_path: Path) -> None:
    with TritonServer(settings(tmp_path)) as server:
        for protocol in PROTOCOLS:
            with client(server, protocol) as asked:
                assert command(asked, f"say it over {protocol}") == f"say it over {protocol}"
        server.check()
        inside = server.triton_http_url
        assert inside != server.http_url
        for address in (server.http_url, inside):
            assert status(address, "POST", "/v2/repository/index") == 403
            assert status(address, "GET", "/v2/systemsharedmemory/status") == 403
            assert status(address, "GET", "/v2/trace/setting") == 403
            assert status(address, "GET", "/v2/logging") == 403
            assert status(address, "GET", "/v2/models/stats") == 200
        (model,) = model_index(inside, server.admin_headers)
        assert (model["name"], model["state"]) == (NAME, "READY")
        assert status(server.metrics_url, "GET", "/metrics") == 200
        assert server.stop() == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stop_lets_the_guard_finish_before_triton_ends(tmp_path: Path, protocol: str) -> None:
    began, go_on = tmp_path / "began", tmp_path / "go_on"

    def let_go(address: str) -> None:
        while is_ready(address):  # until the guard takes no more
            time.sleep(0.01)
        go_on.touch()

    with (
        TritonServer(settings(tmp_path)) as server,
        client(server, protocol) as asked,
        ThreadPoolExecutor(2) as pool,
    ):
        words = f"wait:{began}:{go_on}"
        answer = pool.submit(command, asked, words)
        while not began.exists():
            time.sleep(0.01)
        pool.submit(let_go, server.http_url)
        assert server.stop() == 0
        assert answer.result() == words


def test_the_end_of_the_guard_is_the_end_of_the_server(tmp_path: Path) -> None:
    with TritonServer(settings(tmp_path)) as server:
        triton = server.pid
        os.kill(guard_of_this_process(), signal.SIGKILL)
        with pytest.raises(ServerDiedError, match=r"the guard in front of Triton .* SIGKILL"):
            watch(server)
    assert living_in_group(triton) == frozenset()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_who_ends_two_servers_in_a_row_is_refused_by_the_third(
    tmp_path: Path, protocol: str
) -> None:
    """With the same folder of the quarantine, as a server has that is started again."""
    words = "end the server: please"
    for expected in (UnavailableError, InvalidInputError):
        with TritonServer(settings(tmp_path)) as server, client(server, protocol) as asked:
            with pytest.raises(expected):
                command(asked, words)
            with pytest.raises(ServerDiedError, match=r"tritonserver .* SIGKILL"):
                watch(server)
    with TritonServer(settings(tmp_path)) as server:
        for each in PROTOCOLS:
            with client(server, each) as asked:
                with pytest.raises(InvalidInputError, match="ended servers"):
                    command(asked, words)
                assert command(asked, "another") == "another"
        server.check()
        assert server.stop() == 0
