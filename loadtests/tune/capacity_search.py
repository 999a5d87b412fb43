"""Scores a candidate: its level at the rate of the objective, or the highest rate that holds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from loadtests.tune.measure import BrokenMeasurementError, Meter, Served
from loadtests.tune.results import RateLevel, Score, Trial
from loadtests.tune.settings import Objective
from loadtests.tune.space import Candidate

FIRST_TRY = 0.8
"""The part of what waiting callers got that is tried first as a rate."""
_LOWEST = 1 / 16
"""The part of it below which a candidate is given up."""
_CLEARLY_WORSE = 1.5
GROWTH = 1.2
"""What the rate is multiplied by while it holds."""
RESOLUTION = 1.12
"""Rates closer than this are not told apart: the machine's noise is as large."""
HEADROOM = 0.9
"""The part of what an overloaded server answered that it is taken to hold within a deadline."""
_MAX_TRIES = 9

OnLevel = Callable[[RateLevel], None]


def run_trial(
    meter: Meter,
    candidate: Candidate,
    scored: Callable[[Served], Score],
    clock: Callable[[], float] = time.monotonic,
) -> Trial:
    """Serves and scores a candidate; a broken measurement has no score.

    Raises:
        StoppedError: A stop was asked for.
    """
    began = clock()
    found, broken = None, ""
    try:
        with meter.serving(candidate) as served:
            found = scored(served)
    except BrokenMeasurementError as error:
        broken = str(error)
    return Trial(candidate, found, broken, clock() - began)


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
        objective: What is asked for.
        served: The candidate.
        capacity: About how many requests a second the shipped config answers.
        best: The best score so far; a candidate that cannot beat it is given up early.
        thorough: Never give up early: what is found is compared with others.
        on_level: Told of each level.

    Raises:
        BrokenMeasurementError: There is nothing that could be scored.
        StoppedError: A stop was asked for.
    """
    to_beat = best if best and best.met and not thorough else None

    def attempt(rate: float, hopeless_ms: float = 0.0) -> RateLevel:
        level = served.at(rate, hopeless_ms=hopeless_ms)
        on_level(level)
        return level

    if objective.rate is not None:
        level = attempt(objective.rate, _CLEARLY_WORSE * to_beat.level.p99 if to_beat else 0.0)
        return Score(level, objective.holds(level), min(level.goodput, objective.rate), (level,))
    lowest = capacity * _LOWEST
    start = best.reach if best and best.met else capacity * FIRST_TRY
    if best and not best.met and not thorough:
        start = lowest  # whoever holds at all is the best
    return highest_rate(objective, attempt, start, lowest, beat=to_beat.reach if to_beat else 0.0)


def highest_rate(
    objective: Objective,
    attempt: Callable[[float], RateLevel],
    start: float,
    lowest: float,
    *,
    beat: float = 0.0,
) -> Score:
    """Finds the highest rate at which the objective holds.

    Args:
        objective: Asks for a p99.
        attempt: Measures at a rate, in requests a second.
        start: The rate that is tried first.
        lowest: The rate below which it gives up.
        beat: The best rate of others; it gives up as soon as this cannot be held.
    """
    held: RateLevel | None = None
    missed: RateLevel | None = None
    levels: list[RateLevel] = []
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


def _next(held: RateLevel | None, missed: RateLevel | None, lowest: float) -> float:
    if held and missed:
        return math.sqrt(held.rate * missed.rate)
    if held:
        return held.rate * GROWTH
    assert missed  # noqa: S101 - one of them was just measured
    answered = HEADROOM * missed.goodput if missed.falls_behind else missed.rate
    return max(lowest, min(missed.rate / GROWTH**2, answered))


def _between(objective: Objective, held: RateLevel, missed: RateLevel | None) -> float:
    """Where the p99 crosses the objective, on a straight line in logarithms."""
    if missed is None or missed.rate <= held.rate or objective.p99_ms is None:
        return held.rate
    # A queue that grows would be over any limit in a longer run.
    over = max(missed.p99, objective.p99_ms * (2.0 if missed.falls_behind else 1.0))
    part = math.log(objective.p99_ms / held.p99) / math.log(over / held.p99)
    return float(held.rate * (missed.rate / held.rate) ** min(1.0, max(0.0, part)))


def _reach(levels: list[RateLevel]) -> float:
    """An estimate for one that held at no rate that was tried, below all of those."""
    lowest = min(levels, key=lambda tried: tried.rate)
    return HEADROOM * min(lowest.rate, lowest.goodput)
