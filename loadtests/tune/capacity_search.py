"""The highest rate that holds, found with few tries."""

from __future__ import annotations

import math
from collections.abc import Callable

from loadtests.tune.level import Level
from loadtests.tune.objective import Objective, Score

GROWTH = 1.2
"""What the rate is multiplied by while it holds."""
RESOLUTION = 1.12
"""Rates closer than this are not told apart: the machine's noise is as large."""
HEADROOM = 0.9
"""The part of what an overloaded server answered that it is taken to hold within a deadline."""
_MAX_TRIES = 9

Try = Callable[[float], Level]
"""Puts the candidate under load at a rate."""


def highest_rate(
    objective: Objective, attempt: Try, start: float, lowest: float, *, beat: float = 0.0
) -> Score:
    """Finds the highest rate at which the objective holds.

    Args:
        objective: Asks for a p99.
        attempt: Measures at a rate.
        start: The rate that is tried first.
        lowest: Below this it is given up.
        beat: Gives up as soon as this rate, the best one of others, cannot be held.
    """
    held: Level | None = None
    missed: Level | None = None
    levels: list[Level] = []
    rate = max(start, lowest)
    while len(levels) < _MAX_TRIES:
        level = attempt(rate)
        levels.append(level)
        if objective.holds(level):
            held = level
        else:
            missed = level
        if missed and missed.rate <= max(beat, lowest):
            break
        if held and missed and missed.rate / held.rate <= RESOLUTION:
            break
        # Where two rates were missed there may be none that holds: the lowest one tells.
        hopeless = held is None and len(levels) > 1
        rate = lowest if hopeless else _next(held, missed, lowest)
    if held:
        return Score(held, True, _between(objective, held, missed), tuple(levels))
    nearest = min(levels, key=lambda tried: tried.p99)
    gave_up = beat > lowest and nearest.rate > lowest
    return Score(nearest, False, _reach(levels), tuple(levels), gave_up)


def _next(held: Level | None, missed: Level | None, lowest: float) -> float:
    if held and missed:
        return math.sqrt(held.rate * missed.rate)
    if held:
        return held.rate * GROWTH
    assert missed  # noqa: S101 - one of them was just measured
    answered = HEADROOM * missed.goodput if missed.falls_behind else missed.rate
    return max(lowest, min(missed.rate / GROWTH**2, answered))


def _between(objective: Objective, held: Level, missed: Level | None) -> float:
    """Where the p99 crosses the objective, on a straight line in logarithms."""
    if missed is None or missed.rate <= held.rate or objective.p99_ms is None:
        return held.rate
    # A queue that grows would be over any limit in a longer run.
    over = max(missed.p99, objective.p99_ms * (2.0 if missed.falls_behind else 1.0))
    part = math.log(objective.p99_ms / held.p99) / math.log(over / held.p99)
    return float(held.rate * (missed.rate / held.rate) ** min(1.0, max(0.0, part)))


def _reach(levels: list[Level]) -> float:
    """An estimate for one that held at no rate that was tried, below all of those."""
    lowest = min(levels, key=lambda tried: tried.rate)
    return HEADROOM * min(lowest.rate, lowest.goodput)
