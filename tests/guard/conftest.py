"""The guards of one machine, without servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.guard.quarantine import Quarantine
from tests.guard.quarantined import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guards(tmp_path: Path, clock: Clock) -> Iterator[list[Quarantine]]:
    """The guards of three servers on one machine."""
    made = [Quarantine(tmp_path / "quarantine", 600, clock) for _ in range(3)]
    yield made
    for each in made:
        each.close()
