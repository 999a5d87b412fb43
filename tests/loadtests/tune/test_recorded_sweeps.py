"""The search on recordings of a whole space, each candidate measured on a real server.

`python -m loadtests.tune.sweep` made them. The score of a candidate is the mean of the
recordings, since each alone has noise in it, and the best of noise cannot be searched for.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from loadtests.tune.candidate import Candidate
from loadtests.tune.journal import trial_from_dict
from loadtests.tune.objective import Objective, Score
from loadtests.tune.search import Search
from loadtests.tune.space import Space

RECORDINGS = sorted((Path(__file__).parent / "sweeps").glob("*.json"))
SEEDS = range(20)
MOST_MEASURED = 0.25
LEAST_OF_THE_BEST = 0.95


@pytest.fixture(scope="module")
def recordings() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in RECORDINGS]


@pytest.fixture(scope="module")
def scores(recordings: list[dict[str, Any]]) -> dict[Candidate, Score]:
    """What each candidate came to: the (geometric) mean of what it is taken to reach."""
    trials = [[trial_from_dict(trial) for trial in recording["trials"]] for recording in recordings]
    found: dict[Candidate, list[Score]] = {}
    for trial in (trial for each in trials for trial in each):
        assert trial.score, trial.broken
        found.setdefault(trial.candidate, []).append(trial.score)
    return {
        candidate: replace(each[0], reach=math.exp(fmean(math.log(one.reach) for one in each)))
        for candidate, each in found.items()
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quarter_of_the_measurements_finds_95_percent_of_the_best(
    recordings: list[dict[str, Any]], scores: dict[Candidate, Score], seed: int
) -> None:
    objective = Objective(p99_ms=recordings[0]["p99_ms"])
    space = Space(tuple(sorted(scores)), Candidate(**recordings[0]["shipped"]))
    search = Search(space, objective, seed)
    for _ in range(int(MOST_MEASURED * len(scores))):
        candidate = search.suggest()
        assert candidate
        search.tell(candidate, scores[candidate])
    best = max(objective.value(score) for score in scores.values() if score.met)
    assert objective.value(search.ranking()[0][1]) >= LEAST_OF_THE_BEST * best


def test_the_recordings_are_of_one_space_and_all_of_it(recordings: list[dict[str, Any]]) -> None:
    spaces = [
        sorted(Candidate(**trial["candidate"]) for trial in recording["trials"])
        for recording in recordings
    ]
    assert len(spaces) >= 2
    assert all(space == spaces[0] for space in spaces)
    assert len(spaces[0]) == len(set(spaces[0])) >= 50
