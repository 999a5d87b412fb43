"""Fixtures: a guard in front of nothing, and clients that send it frames."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.guard.raw_http2 import RawClient, answers
from tests.guard.running_guard import RunningGuard, running_guard

Address = tuple[str, int]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGuard]:
    """A guard in front of nothing."""
    with running_guard(tmp_path_factory.mktemp("guard")) as running:
        yield running
        assert "Traceback" not in running.log
        assert not running.log.strip()


@pytest.fixture
def address(guard: RunningGuard) -> Iterator[Address]:
    """Where it listens; afterwards it still answers."""
    yield guard.host, guard.port
    assert answers((guard.host, guard.port))


@pytest.fixture
def client(address: Address) -> Iterator[RawClient]:
    """A client that has greeted."""
    with RawClient(address) as connected:
        yield connected
