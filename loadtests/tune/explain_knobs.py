"""Why each knob ended where it did, from what was measured around the winner."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.tune.candidate import KNOBS, Candidate
from loadtests.tune.journal import Trial
from loadtests.tune.objective import Objective, Score
from loadtests.tune.space import Space

_EQUAL = 0.05
"""Scores of the search closer than this are called equal: each is of one short measurement."""


def reasons(
    objective: Objective, space: Space, trials: Sequence[Trial], winner: Candidate
) -> dict[str, str]:
    """A sentence a knob.

    Args:
        objective: What is better.
        space: All candidates.
        trials: What the search measured.
        winner: The config that is explained.

    Returns:
        The sentences by the name of the knob's field; only of knobs with a choice.
    """
    scores = {trial.candidate: trial.score for trial in trials if trial.score}
    return {
        knob: _reason(objective, space, scores, winner, knob)
        for knob in KNOBS
        if len(space.values(knob)) > 1
    }


def _reason(
    objective: Objective,
    space: Space,
    scores: dict[Candidate, Score],
    winner: Candidate,
    knob: str,
) -> str:
    value, shipped = getattr(winner, knob), getattr(space.shipped, knob)
    begins = f"{value}, as shipped" if value == shipped else f"{value}, not {shipped} as shipped"
    if winner not in scores:
        return f"{begins}; the winner itself was not measured in the search."
    best = {}
    for other in space.values(knob):
        if other != value and (found := _closest(objective, scores, winner, knob, other)):
            best[other] = found
    if not best:
        return f"{begins}: no other value was measured."
    parts = [
        f"with {other}{_also(candidate, winner, knob)} {_value(objective, scores[candidate])}, "
        + _verdict(objective, scores[winner], scores[candidate])
        for other, candidate in best.items()
    ]
    unmeasured = [v for v in space.values(knob) if v != value and v not in best]
    rest = f" Not measured: {', '.join(map(str, unmeasured))}." if unmeasured else ""
    return f"{begins}: {_value(objective, scores[winner])}, and {'; '.join(parts)}.{rest}"


def _closest(
    objective: Objective,
    scores: dict[Candidate, Score],
    winner: Candidate,
    knob: str,
    value: object,
) -> Candidate | None:
    """The measured candidate with that value that differs least else; of these the best."""
    having = [each for each in scores if getattr(each, knob) == value]
    return min(
        having,
        key=lambda each: (
            len(each.differences(winner)),
            -objective.goodness(scores[each]),
        ),
        default=None,
    )


def _verdict(objective: Objective, winner: Score, other: Score) -> str:
    gap = objective.goodness(winner) - objective.goodness(other)
    if not (other.met or other.gave_up):
        return "which misses the objective"
    if abs(gap) < _EQUAL:
        return "equal within the noise of one measurement"
    return "worse" if gap > 0 else "better in this one measurement"


def _also(other: Candidate, winner: Candidate, knob: str) -> str:
    """What else differs, where no candidate was measured that differs in this knob only."""
    also = [KNOBS[name] for name in other.differences(winner) if name != knob]
    return f" (with other {', '.join(also)})" if also else ""


def _value(objective: Objective, score: Score) -> str:
    if objective.rate is None:
        about = "about " if score.gave_up else ""
        return f"{about}{score.reach:.0f} a second"
    return f"p99 {score.level.p99:.1f} ms" if score.met else "a queue that grows"
