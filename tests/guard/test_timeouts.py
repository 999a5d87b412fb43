"""What of an HTTP connection takes too long, told by a clock of the test's own."""

from __future__ import annotations

from server.guard.http.timeouts import Timeouts
from server.guard.settings import GuardSettings

SETTINGS = GuardSettings(read_timeout=10, idle_timeout=100)


def test_a_request_has_its_time_and_more_the_longer_its_body_is() -> None:
    times = Timeouts(SETTINGS, 0)
    times.request_begins(5)
    assert not times.is_late(0, 15)
    assert times.is_late(0, 15.1)
    assert not times.is_late(64 << 10, 16)
    assert times.is_late(64 << 10, 16.1)


def test_the_first_request_has_to_come_sooner_than_the_next_one() -> None:
    times = Timeouts(SETTINGS, 0)
    assert not times.is_idle(10)
    assert times.is_idle(10.1)
    times.request_begins(10)
    times.since = 20  # its answer ended
    assert not times.is_idle(120)
    assert times.is_idle(120.1)


def test_an_answer_is_stalled_when_nothing_more_of_it_is_taken_off() -> None:
    times = Timeouts(SETTINGS, 0)
    assert not times.is_stalled(1000, 50)
    assert not times.is_stalled(1000, 60)
    assert times.is_stalled(1000, 60.1)
    assert not times.is_stalled(999, 61)
    assert not times.is_stalled(999, 71)
    assert not times.is_stalled(0, 200)
