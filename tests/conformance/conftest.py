"""The Triton under test: our own, or the one at TRITON_URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.triton import TritonServer
from tests.conformance.exceptions import mark_for_another_server
from tests.conformance.graph import KIND
from tests.conformance.own_server import settings_for
from tests.conformance.repository import write_repository
from tests.conformance.target import CLIENTS, Target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has each test say of another server what it is known to do there."""
    if os.environ.get("TRITON_URL"):
        mark_for_another_server(items, Path(__file__).parent)


@dataclass(frozen=True)
class Address:
    """Where a Triton listens."""

    http: str
    grpc: str


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A Triton that serves the suite's models.

    TRITON_URL is the `host:port` of another one's HTTP service. Its gRPC service is
    TRITON_GRPC_URL, or the next port.
    """
    url = os.environ.get("TRITON_URL")
    if url:
        host, _, port = url.rpartition(":")
        yield Address(url, os.environ.get("TRITON_GRPC_URL") or f"{host}:{int(port) + 1}")
        return
    repository = tmp_path_factory.mktemp("conformance")
    write_repository(repository)
    with TritonServer(settings_for(repository)) as server:
        yield Address(server.http_url, server.grpc_url)


@pytest.fixture(scope="session", params=sorted(CLIENTS))
def target(request: pytest.FixtureRequest, address: Address) -> Iterator[Target]:
    """That Triton over HTTP, and over gRPC."""
    made = Target(request.param, address.http if request.param == "http" else address.grpc)
    yield made
    made.close()


@pytest.fixture
def indices_are_checked() -> None:
    """Skips what fails a request by an index outside a table."""
    if KIND == "KIND_GPU":
        pytest.skip("CUDA answers 0 for an index outside a table, where the processor refuses it")
