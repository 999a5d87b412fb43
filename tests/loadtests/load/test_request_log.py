"""Latencies, outcomes and quantiles, on recorded requests."""

import math

import numpy as np
import pytest

from loadtests.load.request_log import (
    LOG_ENTRY,
    Outcome,
    Recorder,
    due_between,
    ended_between,
    merge,
    quantiles,
    right,
)
from tests.loadtests.report.recorded import samples


def test_a_stalled_server_is_not_hidden() -> None:
    # 100 requests a second for 10 s; nothing is answered from second 4 to second 6. A client
    # that waits for its answers would have sent one request meanwhile, and 1 of 801 is no p99.
    due = np.arange(1000) / 100
    ends = np.where((due >= 4) & (due < 6), 6.0, due) + 0.01
    found = quantiles(samples((t, 0.0, end - t) for t, end in zip(due, ends, strict=True)))
    assert found["p50"] == pytest.approx(10)
    assert found["p90"] == pytest.approx(1000, rel=0.05)
    assert found["p99"] == pytest.approx(1910, rel=0.05)


def test_latency_counts_from_when_a_request_was_due_not_from_when_it_was_sent() -> None:
    recorder = Recorder()
    recorder.add(intended=100.0, lag=0.5, latency=0.75, outcome=Outcome.RIGHT)
    assert quantiles(recorder.take())["p50"] == 750
    assert len(recorder.take()) == 0


def test_quantiles_of_processes_are_those_of_all_their_requests() -> None:
    fast = samples((t, 0.0, 0.001) for t in range(99))
    slow = samples((t, 0.0, 1.0) for t in range(101))
    parts = [np.frombuffer(part.tobytes(), LOG_ENTRY) for part in (fast, slow)]
    merged = merge(parts)
    assert merged["intended"].tolist() == sorted([*range(99), *range(101)])
    # The mean of the two medians would be 500.5 ms, which no request took.
    assert quantiles(merged)["p50"] == 1000


def test_a_quantile_is_a_latency_that_was_measured() -> None:
    found = quantiles(samples((0, 0.0, ms / 1000) for ms in range(1, 1001)))
    assert {name: round(value) for name, value in found.items()} == {
        "p50": 500,
        "p90": 900,
        "p99": 990,
        "p99.9": 999,
    }


def test_a_request_that_waited_in_vain_counts_with_its_time_and_a_refused_one_not() -> None:
    good = samples([(0, 0.0, 0.01)])
    late = samples([(0, 0.0, 30.0)], Outcome.LATE)
    refused = samples([(0, 0.0, 0.001)], Outcome.REFUSED)
    assert quantiles(merge([good, late]))["p99"] == 30_000
    assert quantiles(merge([good, refused]))["p50"] == pytest.approx(10)
    assert math.isnan(quantiles(refused)["p99"])


def test_requests_belong_where_they_were_due_and_answers_where_they_came() -> None:
    recorded = samples([(0.5, 0.0, 1.0), (1.5, 0.0, 0.1)])
    assert due_between(recorded, 0, 1)["intended"].tolist() == [0.5]
    assert len(ended_between(recorded, 0, 1)) == 0
    assert len(ended_between(recorded, 1, 2)) == 2


def test_only_right_answers_are_goodput() -> None:
    recorded = merge([samples([(0, 0, 0.1)], outcome) for outcome in Outcome])
    assert right(recorded)["outcome"].tolist() == [Outcome.RIGHT]
