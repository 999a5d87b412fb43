"""Fixtures: a server of small models for the whole folder, and a guard for each module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.conformance.own_server import settings_for
from tests.guard.guarded_models import write_models
from tests.guard.raw_http import RawHttp
from tests.guard.raw_http2 import RawClient
from tests.guard.running_guard import RunningGuard, running_guard
from tests.guard.service.grpc_requests import OWN
from tests.guard.service.http_requests import ECHO, echo


@pytest.fixture(scope="package")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model `waiter` says what happens to its requests."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, marks: Path) -> Iterator[TritonServer]:
    """A server of small models."""
    repository = tmp_path_factory.mktemp("repository")
    write_models(repository, marks)
    with TritonServer(settings_for(repository)) as started:
        yield started


@pytest.fixture(scope="module")
def guard(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGuard]:
    """A guard in front of it, which has nothing to complain of at the end."""
    with running_guard(tmp_path_factory.mktemp("guard"), server) as running:
        yield running
        assert not running.log.strip()


@pytest.fixture
def client(guard: RunningGuard) -> Iterator[Any]:
    """Triton's own client, connected to the guard."""
    with triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as connected:
        yield connected


@pytest.fixture
def raw(guard: RunningGuard) -> Iterator[RawClient]:
    """A client that sends frames."""
    with RawClient((guard.host, guard.port)) as connected:
        yield connected


@pytest.fixture
def http(guard: RunningGuard, server: TritonServer) -> Iterator[RawHttp]:
    """A connection to the guard; the server is well afterwards, and answers others."""
    with RawHttp(guard.http_url) as connected:
        yield connected
    server.check()
    with RawHttp(guard.http_url) as other:
        assert other.ask("POST", ECHO, echo("well")).status == 200
