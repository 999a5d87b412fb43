"""The schedule of an open loop is a Poisson process, drawn before and whatever happens."""

import numpy as np
import pytest

from loadtests.load.arrivals import Phase, arrivals, phases
from loadtests.load.settings import SPIKE_FACTOR, LoadSettings, Shape

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
