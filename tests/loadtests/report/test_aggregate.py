"""A recorded run is summed up: what is measured, and what is left out."""

import math

import pytest

from loadtests.load.request_log import Outcome, merge
from loadtests.load.run import Run
from loadtests.load.settings import LoadSettings, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import recovery, sum_up
from loadtests.report.caveats import notes
from loadtests.report.machine import Used
from loadtests.report.metrics import COUNTERS, Scrape
from loadtests.report.result import result_as_dict
from tests.loadtests.report.recorded import samples

BEGAN = 1000.0
"""When the load began; the warm-up lasts until 1002 and the measured time until 1012."""


def recorded(shape: Shape = Shape.STEADY, **objectives: float) -> Run:
    """100 requests a second of 20 ms, four of five of them in the server's computation."""
    counted = [
        dict(zip(COUNTERS, (100 * t, 100 * t, 50 * t, 18e5 * t, 0, 0, 16e5 * t, 0), strict=True))
        for t in range(14)
    ]
    return Run(
        LoadSettings(
            model="mnist_cnn",
            shape=shape,
            rate=100,
            duration=10,
            warm_up=2,
            **objectives,  # type: ignore[arg-type]
        ),
        Target("localhost:1", "localhost:2", "localhost:3", pid=1),
        ["mnist_cnn"],
        log=samples((BEGAN + n / 100, 0.0, 0.02) for n in range(1200)),
        began=BEGAN,
        ended=BEGAN + 12,
        stages=[(BEGAN + 2, 16)],
        scrapes=[Scrape(BEGAN + t, {"mnist_cnn": counts}) for t, counts in enumerate(counted)],
        used=[Used(BEGAN + t, 1.2 * t, 0.3 * t, 1.6 * t, 2**20 * t) for t in range(14)],
    )


def test_the_warm_up_counts_for_no_figure_and_is_in_the_charts() -> None:
    run = recorded()
    run.log["latency"][:200] = 5.0
    result = sum_up(run)
    assert result.requests == 1000
    assert result.sent == 1200
    assert result.quantiles["p99.9"] == pytest.approx(20)
    seconds = [interval.second for interval in result.intervals]
    assert seconds == [float(second) for second in range(-2, 10)]
    assert result.intervals[0].quantiles["p50"] == 5000


def test_the_figures_of_a_steady_run() -> None:
    result = sum_up(recorded())
    assert result.goodput == pytest.approx(100, rel=0.01)
    assert result.goodput_spread == pytest.approx((100, 100, 100), rel=0.03)
    assert result.split.compute == pytest.approx(16)
    assert result.split.network == pytest.approx(2)
    assert result.batch == pytest.approx({"mnist_cnn": 2})
    assert result.processors.server == pytest.approx(1.2)
    assert result.processors.others == pytest.approx(0.1)
    assert result.energy == {}
    assert result.parts == []
    assert result.knee is None


def test_a_wrong_answer_in_the_warm_up_is_not_forgotten() -> None:
    run = recorded()
    run.log["outcome"][5] = Outcome.WRONG
    result = sum_up(run)
    assert (result.wrong, result.failed) == (1, 0)
    assert any("1 wrong answers" in note for note in notes(run, result))


def test_failures_are_no_goodput_and_miss_their_objective() -> None:
    run = recorded()
    run.settings = run.settings.model_copy(update={"min_rps": 100.0, "max_fail": "100"})
    run.log["outcome"][500:601] = Outcome.UNAVAILABLE
    result = sum_up(run)
    assert result.failed == 101
    assert result.goodput == pytest.approx(89.9, rel=0.01)
    assert [verdict.met for verdict in result.verdicts] == [False, False]


def test_joules_are_shared_by_the_inferences_of_the_measured_time() -> None:
    run = recorded()
    run.joules = [(BEGAN + t, {"RAPL package-0": 7.0 + 50.0 * t}) for t in range(14)]
    assert sum_up(run).energy == pytest.approx({"RAPL package-0": 0.5})


def test_a_generator_that_falls_behind_is_told_on() -> None:
    run = recorded(Shape.RATE)
    run.log["lag"][700:800] = 0.015
    result = sum_up(run)
    assert result.lateness["p99"] == pytest.approx(15)
    assert result.split.late == pytest.approx(1.5)
    assert any("fell behind its schedule" in note for note in notes(run, result))
    assert not any("fell behind" in n for n in notes(recorded(), sum_up(recorded())))


def test_a_soak_is_compared_with_itself() -> None:
    parts = sum_up(recorded(Shape.SOAK)).parts
    assert [part.name for part in parts] == ["first third", "second third", "last third"]
    assert [part.server_bytes / 2**20 for part in parts] == pytest.approx([16 / 3, 26 / 3, 12])


@pytest.mark.parametrize(("slow_seconds", "expected"), [(0, 0.0), (3, 3.0), (10, None)])
def test_after_a_spike_the_latency_is_back_when_a_second_is_as_before(
    slow_seconds: int, expected: float | None
) -> None:
    after = [
        samples((50 + n / 100, 0.0, 0.5 if n < 100 * slow_seconds else 0.012) for n in range(1000))
    ]
    assert recovery(merge(after), 50, 10, usual=10) == expected


def test_what_was_not_measured_is_null_in_json() -> None:
    run = recorded()
    run.scrapes = []
    result = sum_up(run)
    assert math.isnan(result.split.queue)
    assert result_as_dict(result)["split"]["queue"] is None
