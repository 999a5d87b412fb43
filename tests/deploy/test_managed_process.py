"""A process that ends is restarted with exponential backoff, by a clock that the test turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cluster.managed_process import ManagedProcess
from tests.clock import Clock
from tests.deploy.cluster import eventually

TICK = 0.01


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failing(clock: Clock, tmp_path: Path) -> Iterator[ManagedProcess]:
    """A program that ends as soon as it is started."""
    process = ManagedProcess("it", ["/bin/false"], {}, tmp_path / "log", clock)
    process.start()
    yield process
    process.kill()


def restart(process: ManagedProcess, clock: Clock, ran: int = 0) -> float:
    """Turns the clock until a process that ended, after so many seconds, is started again.

    Returns:
        The seconds that this took.
    """
    starts = process.starts
    assert eventually(process.ended)
    clock.now += ran
    ended = clock.now
    assert "ended with code 1" in str(process.keep_running())
    while process.starts == starts:
        clock.now += TICK
        process.keep_running()
        assert clock.now - ended < 60, "it is not started again"
    return clock.now - ended


def test_each_wait_is_twice_the_one_before_up_to_the_maximum(
    failing: ManagedProcess, clock: Clock
) -> None:
    waits = [restart(failing, clock) for _ in range(8)]
    assert waits == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4, 10, 10, 10], abs=2 * TICK)
    assert failing.starts == 9


@pytest.mark.parametrize(("ran", "waits"), [(31, [0.2, 0.4, 0.8]), (29, [6.4, 10, 10])])
def test_the_waits_begin_anew_only_after_a_long_run(
    failing: ManagedProcess, clock: Clock, ran: int, waits: list[float]
) -> None:
    for _ in range(4):
        restart(failing, clock)
    found = [restart(failing, clock, ran), restart(failing, clock), restart(failing, clock)]
    assert found == pytest.approx(waits, abs=2 * TICK)


def test_one_that_runs_is_left_alone(clock: Clock, tmp_path: Path) -> None:
    process = ManagedProcess("it", ["/bin/sleep", "600"], {}, tmp_path / "log", clock)
    process.start()
    pid = process.pid
    clock.now += 100
    assert process.keep_running() is None
    assert (process.pid, process.starts, process.running_seconds()) == (pid, 1, 100.0)
    process.kill()
    assert process.ended()
