"""The sentence of each knob."""

from dataclasses import replace

from loadtests.tune.explain_knobs import reasons
from loadtests.tune.journal import Trial
from loadtests.tune.objective import Objective
from tests.loadtests.tune.made_up import SHIPPED, score, space

P99 = Objective(p99_ms=100)


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
