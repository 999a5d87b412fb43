"""Who wins, when the simpler config does, and the sentence of each knob."""

from dataclasses import replace
from math import exp, log, sqrt
from statistics import stdev

import pytest

from loadtests.tune.confirmation import decide, ratio, reasons
from loadtests.tune.results import Trial
from loadtests.tune.settings import Objective
from loadtests.tune.space import Candidate
from tests.loadtests.tune.made_up import SHIPPED, finalist, score, space

P99 = Objective(p99_ms=100)
NEAR = Candidate("model.int8.onnx", 8, 0, 1, 2, 1)  # one knob away
FAR = Candidate("model.int8.onnx", 8, 0, 2, 1, 1)  # three


def test_one_that_is_better_beyond_the_noise_wins() -> None:
    shipped, far = finalist(SHIPPED, 100, 104, 98, 101), finalist(FAR, 130, 128, 133, 131)
    found = decide(P99, [shipped, far], SHIPPED)
    assert found
    assert found.winner.candidate == FAR
    assert found.ratios[SHIPPED].is_beyond_noise
    assert found.ratios[SHIPPED].middle == pytest.approx(1.295, abs=0.01)


def test_within_the_noise_the_simpler_one_wins() -> None:
    far, near = finalist(FAR, 131, 120, 142, 128), finalist(NEAR, 128, 126, 130, 127)
    found = decide(P99, [finalist(SHIPPED, 100, 99, 101, 100), far, near], SHIPPED)
    assert found
    assert found.winner.candidate == NEAR


def test_the_shipped_config_stays_where_nothing_is_better_for_certain() -> None:
    found = decide(P99, [finalist(SHIPPED, 100, 90, 110), finalist(FAR, 105, 110, 95)], SHIPPED)
    assert found
    assert found.winner.candidate == SHIPPED
    assert "stays" in found.why
    found = decide(P99, [finalist(SHIPPED, 100, 100), finalist(FAR, 50, 50)], SHIPPED)
    assert found
    assert "already the best" in found.why


def test_one_round_proves_nothing() -> None:
    found = decide(P99, [finalist(SHIPPED, 100), finalist(FAR, 300)], SHIPPED)
    assert found
    assert found.winner.candidate == SHIPPED


def test_one_that_misses_the_objective_cannot_win() -> None:
    shipped, far = finalist(SHIPPED, 0, 0, 80), finalist(FAR, 50, 51, 49)
    found = decide(P99, [shipped, far], SHIPPED)
    assert found
    assert found.winner.candidate == FAR
    assert "misses" in found.why
    assert decide(P99, [shipped], SHIPPED) is None


def test_the_interval_of_a_ratio_is_students() -> None:
    found = ratio(P99, finalist(FAR, 110, 120, 130), finalist(SHIPPED, 100, 100, 100))
    half = 4.303 * stdev(map(log, (1.1, 1.2, 1.3))) / sqrt(3)
    assert found.low == pytest.approx(found.middle * exp(-half), rel=1e-3)
    assert found.high == pytest.approx(found.middle * exp(half), rel=1e-3)


def test_what_meets_all_alike_is_no_noise() -> None:
    slower_and_slower = [100, 80, 60, 40]
    one = finalist(FAR, *(1.2 * value for value in slower_and_slower))
    found = ratio(P99, one, finalist(SHIPPED, *slower_and_slower))
    assert found.low == pytest.approx(1.2)
    assert found.high == pytest.approx(1.2)


def test_a_knob_is_explained_by_the_neighbours_that_differ_in_it_alone() -> None:
    trials = [
        Trial(SHIPPED, score(200), "", 1),
        Trial(replace(SHIPPED, file="model.onnx"), score(120), "", 1),
        Trial(replace(SHIPPED, max_batch_size=8), score(203), "", 1),
        Trial(replace(SHIPPED, instances=2, threads=1), score(20, met=False), "", 1),
    ]
    found = reasons(P99, space(), trials, SHIPPED)
    assert found["file"] == (
        "model.int8.onnx, as shipped: 200 a second, and with model.onnx 120 a second, worse."
    )
    assert found["max_batch_size"] == (
        "32, as shipped: 200 a second, and with 8 203 a second, equal within the noise of one "
        "measurement. Not measured: 1."
    )
    assert "(with other threads of an instance)" in found["instances"]
    assert "misses the objective" in found["instances"]
    # A knob with one value has no choice to explain.
    assert "front_instances" not in found


def test_where_nothing_else_was_measured_that_is_said() -> None:
    winner = replace(SHIPPED, max_batch_size=8)
    found = reasons(P99, space(), [Trial(winner, score(100), "", 1)], winner)
    assert found["max_batch_size"] == "8, not 32 as shipped: no other value was measured."
