"""A whole search with finals and last run, on servers that answer by a formula."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from loadtests.tune.measure import Meter, StoppedError
from loadtests.tune.results import Trial
from loadtests.tune.search import open_study, trials_of
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Space
from loadtests.tune.tuner import Found, Listener, Tuner
from tests.loadtests.tune.made_up import SHIPPED, Machine, space

SETTINGS = TuneSettings(model="sentiment", p99_ms=100, budget_s=600)
LEAST_LATENCY = SETTINGS.model_copy(update={"p99_ms": None, "rate": 100})


def tune(
    path: Path, settings: TuneSettings = SETTINGS, within: Space | None = None, **machine: Any
) -> tuple[Found, Machine]:
    made = Machine(settings, **machine)
    tuner = Tuner(cast(Meter, made), within or space(), path, Listener(), made.clock)
    return tuner.run(), made


def kept(path: Path) -> list[list[Trial]]:
    """The trials of the search and those of the finals."""
    return [trials_of(open_study(path, name)) for name in ("search", "finals")]


def test_the_best_is_found_and_shows_that_it_holds(tmp_path: Path) -> None:
    found, _ = tune(tmp_path / "j")
    assert found.met
    assert found.decision
    # Two instances are no better than one here: the simpler of the two wins.
    assert found.decision.winner.candidate == replace(SHIPPED, max_batch_size=8)
    assert found.decision.ratios[SHIPPED].low > 1.2
    assert found.confirmation
    assert found.confirmation.met
    assert found.confirmation.level.p99 <= 100


def test_the_least_latency_is_found(tmp_path: Path) -> None:
    found, _ = tune(tmp_path / "j", LEAST_LATENCY)
    assert found.decision
    assert found.decision.winner.candidate == replace(SHIPPED, max_batch_size=8)


@pytest.mark.parametrize("loads", [1, 10, 30, 45])
def test_a_search_that_was_stopped_repeats_nothing(tmp_path: Path, loads: int) -> None:
    path = tmp_path / "j"
    with pytest.raises(StoppedError):
        tune(path, stop_after=loads)
    before = kept(path)
    assert any(before) == (loads > 1)
    found, _ = tune(path)
    searched, finals = after = kept(path)
    assert [trials[: len(known)] for trials, known in zip(after, before, strict=True)] == before
    assert len(searched) == len({trial.candidate for trial in searched})
    assert len(finals) == len({(trial.round, trial.candidate) for trial in finals})
    assert found.met


def test_the_budget_bounds_search_and_finals(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"budget_s": 120})
    found, machine = tune(tmp_path / "j", settings)
    assert found.trials
    assert found.finalists
    # One candidate may begin just before each end.
    assert machine.seconds <= 120 + 2 * 50 + settings.confirm_s
    assert len(found.trials) < len(space().candidates)


def test_a_search_of_many_hopeless_candidates_leaves_time_for_the_finals(tmp_path: Path) -> None:
    # Most are given up after one load; the best are measured to the end, which takes longer.
    many = [replace(each, delay_us=delay) for each in space().candidates for delay in range(50)]
    found, _ = tune(tmp_path / "j", within=Space(tuple(sorted(many)), SHIPPED))
    assert len(found.trials) < len(many) / 4
    assert [len(finalist.rounds) for finalist in found.finalists] == [4, 4, 4]


def test_what_broke_is_told_and_takes_no_part(tmp_path: Path) -> None:
    best = replace(SHIPPED, max_batch_size=8)
    found, _ = tune(tmp_path / "j", broken=frozenset({best}))
    assert found.decision
    assert found.decision.winner.candidate != best
    assert best not in {finalist.candidate for finalist in found.finalists}
    (broken,) = [trial for trial in found.trials if trial.candidate == best]
    assert broken.score is None
    assert broken.broken == "the server died"


def test_where_nothing_can_meet_the_objective_nobody_wins(tmp_path: Path) -> None:
    found, _ = tune(tmp_path / "j", SETTINGS.model_copy(update={"p99_ms": 1}))
    assert not found.met
    assert found.decision is None
    assert found.confirmation is None
    assert not any(trial.score and trial.score.met for trial in found.trials)


def test_one_round_in_which_the_machine_stood_still_is_not_believed(tmp_path: Path) -> None:
    settings = LEAST_LATENCY.model_copy(update={"budget_s": 60})
    _, machine = tune(tmp_path / "quiet", settings)
    searched, finals = kept(tmp_path / "quiet")
    first = machine.loads - len(finals)  # the last load is that of the confirmation
    of_round = sum(trial.round == 1 for trial in finals)
    found, _ = tune(tmp_path / "still", settings, still=range(first, first + of_round))
    assert [trials.score.met for trials in kept(tmp_path / "still")[1] if trials.score][
        :of_round
    ] == [False] * of_round
    assert len(kept(tmp_path / "still")[0]) == len(searched)
    assert found.decision
    assert found.met


@pytest.mark.parametrize(("still", "met"), [(1, True), (2, False)])
def test_a_rate_missed_in_one_last_run_is_run_once_more(
    tmp_path: Path, still: int, met: bool
) -> None:
    _, machine = tune(tmp_path / "quiet", LEAST_LATENCY)
    found, _ = tune(
        tmp_path / "still",
        LEAST_LATENCY,
        still=range(machine.loads, machine.loads + still),
    )
    assert found.decision
    assert found.met is met
    assert found.confirmation
    assert found.confirmation.missed == (100,)
