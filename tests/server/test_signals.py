"""What counts as a stop, and what as a person's hurry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from server.signals import FOR_EVERYBODY, SOFT_STOP, STOP_AT_ONCE, StopSignals
from tests.clock import Clock

ALL = (*FOR_EVERYBODY, SOFT_STOP, STOP_AT_ONCE)


@contextmanager
def handlers_as_before() -> Iterator[None]:
    """Puts the handlers back that a stop has left."""
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def raised(*numbers: signal.Signals, seconds: float = 0) -> StopSignals:
    """What is noted of signals that arrive so many seconds after one another."""
    clock = Clock()
    with handlers_as_before(), StopSignals(clock) as signals:
        for number in numbers:
            signal.raise_signal(number)
            clock.now += seconds
    return signals


@pytest.mark.parametrize("number", ALL)
def test_each_asks_for_a_stop(number: signal.Signals) -> None:
    assert not raised().stop()
    assert raised(number).stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, SOFT_STOP])
def test_one_that_is_repeated_is_no_hurry(number: signal.Signals) -> None:
    assert not raised(*[number] * 5, seconds=60).hurry()


def test_a_second_interrupt_is_hurry_only_some_time_after_the_first() -> None:
    assert not raised(signal.SIGINT, seconds=60).hurry()
    assert not raised(*[signal.SIGINT] * 3, seconds=0.3).hurry()
    assert raised(*[signal.SIGINT] * 2, seconds=1).hurry()


def test_an_interrupt_after_another_signal_is_no_second_one() -> None:
    assert not raised(signal.SIGTERM, signal.SIGINT, seconds=60).hurry()
    assert raised(signal.SIGTERM, signal.SIGINT, signal.SIGINT, seconds=60).hurry()


def test_a_quit_stops_at_once() -> None:
    assert raised(STOP_AT_ONCE).hurry()


def test_what_was_ignored_stays_ignored() -> None:
    with handlers_as_before():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert not raised(signal.SIGHUP).stop()


def test_handlers_come_back_where_nothing_stopped() -> None:
    before = signal.getsignal(signal.SIGINT)
    raised()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_late_signal_does_not_change_how_a_process_ends() -> None:
    script = (
        "import os, signal\n"
        "from server.signals import StopSignals\n"
        "with StopSignals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):\n"
        "    os.kill(os.getpid(), number)\n"
        "raise SystemExit(7)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": "."}, check=False
    )
    assert done.returncode == 7
