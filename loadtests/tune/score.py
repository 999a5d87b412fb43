"""Scores a candidate that is served."""

from __future__ import annotations

from collections.abc import Callable

from loadtests.tune.capacity_search import highest_rate
from loadtests.tune.level import Level
from loadtests.tune.measure import Served
from loadtests.tune.objective import Objective, Score

FIRST_TRY = 0.8
"""The part of what waiting callers got that is tried first as a rate."""
_LOWEST = 1 / 16
"""The part of it below which a candidate is given up."""
_CLEARLY_WORSE = 1.5

OnLevel = Callable[[Level], None]


def score(
    objective: Objective,
    served: Served,
    *,
    capacity: float,
    best: Score | None = None,
    thorough: bool = False,
    on_level: OnLevel = lambda _: None,
) -> Score:
    """Measures what the objective asks for.

    Args:
        objective: What is asked.
        served: The candidate.
        capacity: About how many requests a second the shipped config answers.
        best: The best score so far; a candidate that cannot beat it is given up early.
        thorough: Never give up early: what is found is compared with others.
        on_level: Told of each level.

    Raises:
        BrokenMeasurementError: There is nothing that could be scored.
        StoppedError: A stop was asked for.
    """

    def attempt(rate: float) -> Level:
        level = served.at(rate)
        on_level(level)
        return level

    if objective.rate is None:
        met = best is not None and best.met
        start = best.reach if best and met else capacity * FIRST_TRY
        lowest = capacity * _LOWEST
        beat = best.reach if best and met and not thorough else 0.0
        if best and not met and not thorough:
            start = lowest  # whoever holds at all is the best
        return highest_rate(objective, attempt, start, lowest, beat=beat)
    hopeless_ms = _CLEARLY_WORSE * best.level.p99 if best and best.met and not thorough else 0.0
    level = served.at(objective.rate, hopeless_ms=hopeless_ms)
    on_level(level)
    return Score(level, objective.holds(level), min(level.goodput, objective.rate), (level,))
