"""What is read from the requests of one rate."""

import numpy as np
import pytest

from loadtests.load.request_log import LOG_ENTRY, Outcome, RequestLog
from loadtests.tune.results import level_of, p99_interval


def samples(latencies: list[float], outcome: Outcome = Outcome.RIGHT) -> RequestLog:
    """A request every 10 ms."""
    rows = [(at * 0.01, 0.0, latency, outcome) for at, latency in enumerate(latencies)]
    return np.array(rows, LOG_ENTRY)


def test_a_growing_queue_is_told_by_its_growth() -> None:
    grown = level_of(100, 3, [samples([0.1 + 0.001 * at for at in range(300)])], 90)
    steady = level_of(100, 3, [samples([0.1, 0.2, 0.3] * 100)], 100)
    assert grown.growth == pytest.approx(0.1, rel=1e-3)
    assert grown.falls_behind
    assert not steady.falls_behind


def test_a_machine_that_stood_still_at_the_end_is_no_queue_that_grows() -> None:
    still = [0.6 - 0.01 * at for at in range(60)]  # those wait for its end, the first longest
    found = level_of(100, 3, [samples([0.01] * 240 + still)], 100)
    assert found.growth == pytest.approx(0, abs=1e-3)
    assert not found.falls_behind
    assert found.p99 > 500


def test_runs_at_one_rate_are_pooled_and_their_gap_is_no_growth() -> None:
    found = level_of(100, 6, [samples([0.01] * 300), samples([0.5] * 300)], 100)
    assert found.requests == 600
    assert found.growth == pytest.approx(0, abs=1e-6)
    assert found.p50 == pytest.approx(10, rel=1e-3)
    assert found.p99 == pytest.approx(500, rel=1e-3)


def test_failures_are_counted_and_count_not_as_fast_answers() -> None:
    refused = samples([0.0001] * 5, Outcome.REFUSED)
    found = level_of(100, 3, [np.concatenate([samples([0.1] * 5), refused])], 50)
    assert found.failed == 5
    assert found.p99 == pytest.approx(100, rel=1e-3)


def test_more_requests_know_their_p99_better() -> None:
    chance = np.random.default_rng(0)

    def width(count: int) -> float:
        p99, low, high = p99_interval(chance.exponential(size=count))
        assert low <= p99 <= high
        return high / low

    assert width(100_000) < width(1000) < width(200)
