"""Fixtures: small models behind a guard of their own, for a module of tests that imports them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.triton import TritonServer
from tests.conformance.own_server import settings_for
from tests.guard.guarded_models import write_models
from tests.guard.running_guard import RunningGuard, running_guard

__all__ = ["guard", "marks", "server"]


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the model `waiter` says what happens to its requests."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
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
