"""The search, driven by recorded sweeps of whole spaces; no server is asked."""

import json
import math
from functools import lru_cache
from pathlib import Path

import pytest

from loadtests.tune.candidate import Candidate
from loadtests.tune.journal import Trial, trial_from_dict
from loadtests.tune.objective import Objective, Score
from loadtests.tune.search import Search
from loadtests.tune.space import Space
from tests.loadtests.tune.made_up import SHIPPED, THROUGHPUT_OF, score, space

RECORDINGS = sorted(Path(__file__).parent.glob("recorded_sweep_*.json"))
SEEDS = range(20)
PART = 0.25
"""Of the space, that may be measured."""
WITHIN = 0.95
"""Of the best of the whole space, that has to be reached."""
P99 = Objective(p99_ms=100)


@lru_cache
def recorded(path: Path) -> tuple[Objective, Space, dict[Candidate, Score]]:
    """The objective, the space, and the score of each candidate that could be measured."""
    plain = json.loads(path.read_text())
    trials = [trial_from_dict(trial) for trial in plain["trials"]]
    candidates = tuple(sorted(trial.candidate for trial in trials))
    return (
        Objective(plain["p99_ms"], plain["rate"]),
        Space(candidates, Candidate(**plain["shipped"])),
        {trial.candidate: trial.score for trial in trials if trial.score},
    )


def searched(
    objective: Objective, whole: Space, scores: dict[Candidate, Score], seed: int, most: int
) -> Search:
    """A search that has measured so many candidates."""
    search = Search(whole, objective, seed)
    while search.measured < most and (candidate := search.suggest()):
        search.tell(candidate, scores.get(candidate))
    return search


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_quarter_of_the_measurements_reaches_the_best(path: Path, seed: int) -> None:
    objective, whole, scores = recorded(path)
    best = max(map(objective.goodness, scores.values()))
    search = searched(objective, whole, scores, seed, int(PART * len(whole.candidates)))
    _, found = search.ranking()[0]
    assert objective.goodness(found) - best >= math.log(WITHIN)


def test_the_shipped_config_comes_first_and_nothing_twice() -> None:
    whole = space()
    search = Search(whole, P99, seed=1)
    asked = []
    while candidate := search.suggest():
        asked.append(candidate)
        search.tell(candidate, score(THROUGHPUT_OF[candidate.file]))
    assert asked[0] == SHIPPED
    assert sorted(asked) == sorted(whole.candidates)


def test_the_same_seed_asks_the_same() -> None:
    def order(seed: int) -> list[Candidate]:
        search = Search(space(), P99, seed)
        found = []
        while candidate := search.suggest():
            found.append(candidate)
            search.tell(candidate, score(THROUGHPUT_OF[candidate.file]))
        return found

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_a_broken_measurement_is_not_scored_and_not_repeated() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    broken = []
    while candidate := search.suggest():
        is_broken = candidate.file == "model.onnx"
        search.tell(candidate, None if is_broken else score(100))
        broken += [candidate] if is_broken else []
    assert len(broken) == len(set(broken)) == 6
    assert all(candidate.file != "model.onnx" for candidate, _ in search.ranking())


def test_a_search_goes_on_with_what_was_known() -> None:
    whole = space()
    known = [
        Trial(candidate, score(THROUGHPUT_OF[candidate.file]), "", 1.0)
        for candidate in whole.candidates[:7]
    ]
    search = Search(whole, P99, 0, known)
    left = []
    while candidate := search.suggest():
        left.append(candidate)
        search.tell(candidate, score(1))
    assert len(left) == 5
    assert not {trial.candidate for trial in known} & set(left)


def test_of_equal_candidates_the_one_closest_to_the_shipped_ranks_first() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    for candidate in whole.candidates:
        search.tell(candidate, score(100))
    assert search.ranking()[0][0] == SHIPPED


def test_one_that_missed_ranks_behind_those_that_met() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    search.tell(whole.candidates[0], score(500, met=False))
    search.tell(whole.candidates[1], score(50))
    assert search.ranking()[0][0] == whole.candidates[1]
