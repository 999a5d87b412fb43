"""The highest rate that holds."""

import pytest

from loadtests.tune.capacity_search import RESOLUTION, highest_rate
from loadtests.tune.settings import Objective
from tests.loadtests.tune.made_up import Server, level

P99 = Objective(p99_ms=100)


@pytest.mark.parametrize("start", [20, 60, 76, 90, 150, 1000])
def test_the_limit_is_found_from_wherever_it_starts(start: float) -> None:
    server = Server(100)  # holds 100 ms up to 77 a second
    found = highest_rate(P99, server.attempt, start, 1)
    assert found.met
    assert 77 / RESOLUTION < found.reach < 77 * RESOLUTION
    assert found.level.rate <= 77
    assert [tried.rate for tried in found.levels] == server.tried


def test_one_that_cannot_beat_the_best_is_tried_once() -> None:
    server = Server(100)
    found = highest_rate(P99, server.attempt, 150, 1, beat=150)
    assert not found.met
    assert server.tried == [150]
    assert found.reach < 100


def test_where_nothing_holds_it_ends_with_what_came_closest() -> None:
    server = Server(100, service_ms=50)
    found = highest_rate(P99, server.attempt, 64, 4)
    assert not found.met
    assert server.tried[-1] == 4
    assert len(server.tried) == 3
    assert found.level.p99 == min(tried.p99 for tried in found.levels)


def test_a_queue_that_grows_does_not_hold_however_short_it_is_yet() -> None:
    assert not P99.holds(level(10, 20, growth=0.5))
    assert not P99.holds(level(10, 20, failed=1))
    assert P99.holds(level(10, 20))
