"""The shapes of a load: the schedule of an open loop, and when steps end, on recorded levels."""

import numpy as np
import pytest

from loadtests.load.request_log import Outcome, merge
from loadtests.load.settings import SPIKE_FACTOR, LoadSettings, Shape
from loadtests.load.shapes import (
    Phase,
    arrivals,
    knee,
    measure_level,
    phases,
    step_seconds,
    stopped_growing,
    user_levels,
)
from loadtests.report.objectives import LoadLevel
from tests.loadtests.report.recorded import samples

MINUTE = [Phase("warm-up", 10, 50), Phase("rate", 50, 50)]


def test_the_same_seed_draws_the_same_arrivals_and_another_one_others() -> None:
    first = arrivals(MINUTE, seed=3)
    assert np.array_equal(first, arrivals(MINUTE, seed=3))
    assert not np.array_equal(first[:100], arrivals(MINUTE, seed=4)[:100])


def test_gaps_are_exponential_not_even() -> None:
    gaps = np.diff(arrivals([Phase("rate", 2000, 50)], seed=0))
    # Mean and standard deviation of an exponential distribution are the same.
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.02)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.02)


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_processes_share_the_rate_and_draw_different_arrivals(processes: int) -> None:
    drawn = [arrivals(MINUTE, 0, process, processes) for process in range(processes)]
    together = np.concatenate(drawn)
    assert len(together) == pytest.approx(3000, abs=5 * 3000**0.5)
    assert len(np.unique(together)) == len(together)
    assert 0 <= together.min() <= together.max() < 60


def test_a_spike_brings_its_factor_of_requests_and_only_in_its_time() -> None:
    settings = LoadSettings(shape=Shape.SPIKE, rate=100, duration=100, warm_up=10)
    due = arrivals(phases(settings), seed=0)
    counts, _ = np.histogram(due, [0, 10, 50, 70, 110])
    expected = [1000, 4000, 20 * 100 * SPIKE_FACTOR, 4000]
    assert counts.tolist() == pytest.approx(expected, rel=0.1)


def test_without_a_warm_up_arrivals_begin_at_once() -> None:
    settings = LoadSettings(shape=Shape.RATE, rate=100, duration=10, warm_up=0)
    due = arrivals(phases(settings), seed=0)
    assert len(due) == pytest.approx(1000, rel=0.15)
    assert due[0] < 1


def levels(*goodputs: float) -> list[LoadLevel]:
    return [LoadLevel(2**n, goodput, 10.0 * 2**n) for n, goodput in enumerate(goodputs)]


@pytest.mark.parametrize(
    ("max_users", "expected"),
    [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12]), (3, [1, 2, 3])],
)
def test_users_double_up_to_the_limit(max_users: int, expected: list[int]) -> None:
    assert user_levels(max_users) == expected


def test_a_step_lasts_whole_seconds_and_two_at_least() -> None:
    assert step_seconds(60, 7) == 8
    assert step_seconds(5, 7) == 2


def test_growing_goodput_has_no_knee_yet() -> None:
    assert not stopped_growing(levels(100, 190, 360, 700))
    assert knee(levels(100, 190, 360, 700)) is None


def test_the_knee_is_where_goodput_is_nearly_the_best() -> None:
    recorded = levels(100, 190, 280, 300, 302, 299)
    assert stopped_growing(recorded)
    found = knee(recorded)
    assert found
    assert found.users == 4


def test_goodput_that_collapses_leaves_the_knee_before() -> None:
    found = knee(levels(100, 200, 390, 250, 120))
    assert found
    assert found.users == 4


def test_one_bad_step_does_not_end_the_growth() -> None:
    assert not stopped_growing(levels(100, 190, 150, 360))
    assert not stopped_growing(levels(100, 190, 150))
    assert stopped_growing(levels(100, 190, 150, 195))


def test_a_level_is_measured_without_its_first_part_and_without_failures() -> None:
    settling = samples((10 + n / 100, 0.0, 0.905) for n in range(50))
    good = samples((11 + n / 10, 0.0, 0.05) for n in range(28))
    wrong = samples([(12, 0.0, 0.05)] * 5, Outcome.WRONG)
    level = measure_level(merge([settling, good, wrong]), 4, 10, 14)
    # Of the first second's 50 requests those that end in the last three seconds are answers too.
    ended_later = sum(10 + n / 100 + 0.905 >= 11 for n in range(50))
    assert level.goodput == pytest.approx((28 + ended_later) / 3)
    assert level.p99 == pytest.approx(50)
