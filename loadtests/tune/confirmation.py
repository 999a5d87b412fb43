"""Which of the best candidates wins, measured again by turns, and why each knob is as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from scipy import stats  # type: ignore[import-untyped]

from loadtests.tune.results import RateLevel, Score, Trial
from loadtests.tune.settings import Objective
from loadtests.tune.space import KNOBS, Candidate, Space

_EQUAL = 0.05
"""Scores of the search closer than this are called equal: each is of one short measurement."""


@dataclass(frozen=True)
class Ratio:
    """How much better one is than another, as a factor; 1 is equal."""

    middle: float  # the mean over the rounds
    low: float  # the lower end of its 95% confidence interval
    high: float  # the upper end

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the one is better for certain."""
        return self.low > 1


@dataclass(frozen=True)
class Finalist:
    """A candidate with what it came to in each round."""

    candidate: Candidate
    rounds: tuple[Score, ...]

    @property
    def met(self) -> bool:
        """Whether the objective was reached in most rounds."""
        return 2 * sum(score.met for score in self.rounds) > len(self.rounds)


@dataclass(frozen=True)
class Decision:
    """Who won, and against whom."""

    winner: Finalist
    # How much better the winner is than others; those that missed the objective are left out.
    ratios: Mapping[Candidate, Ratio]
    why: str


@dataclass(frozen=True)
class Confirmation:
    """The winner's last run."""

    level: RateLevel
    met: bool
    missed: tuple[float, ...] = ()  # rates that did not hold in runs as long as this, before it


def typical(objective: Objective, finalist: Finalist) -> float:
    """The median of a finalist's rounds, in the unit of the objective."""
    return median(objective.value(score) for score in finalist.rounds)


def ratio(objective: Objective, one: Finalist, other: Finalist) -> Ratio:
    """Compares two finalists round by round, so that what the machine did affects both alike."""
    logs = [
        objective.goodness(a) - objective.goodness(b)
        for a, b in zip(one.rounds, other.rounds, strict=False)
    ]
    middle = fmean(logs)
    if len(logs) < 2:
        return Ratio(math.exp(middle), 0.0, math.inf)
    half = float(stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs))  # a 95% interval
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(min(middle + half, 700)))


def decide(
    objective: Objective, finalists: Sequence[Finalist], shipped: Candidate
) -> Decision | None:
    """Chooses the simplest of those that are not worse than the best for certain.

    The fewer knobs differ from what is shipped, the simpler. Where nobody met the objective,
    there is no decision.
    """
    able = [each for each in finalists if each.met]
    if not able:
        return None
    best = max(able, key=lambda each: fmean(objective.goodness(s) for s in each.rounds))
    equal = [
        each for each in able if each is best or not ratio(objective, best, each).is_beyond_noise
    ]
    winner = min(
        equal, key=lambda each: (len(each.candidate.differences(shipped)), each is not best)
    )
    ratios = {each.candidate: ratio(objective, winner, each) for each in able if each is not winner}
    return Decision(winner, ratios, _why(winner, best, shipped, finalists, ratios))


def _why(
    winner: Finalist,
    best: Finalist,
    shipped: Candidate,
    finalists: Sequence[Finalist],
    ratios: Mapping[Candidate, Ratio],
) -> str:
    if winner.candidate == shipped:
        if winner is best:
            return "The shipped config is already the best that was found."
        return (
            "The shipped config stays: what measured better did not do so beyond the noise, and "
            "it is the simplest."
        )
    if shipped in ratios:
        against = ratios[shipped]
        shown = (
            f"{against.middle:.2f} × as good as the shipped config "
            f"(95%: {against.low:.2f} to {against.high:.2f})"
        )
    elif any(each.candidate == shipped for each in finalists):
        shown = "the shipped config misses the objective"
    else:
        shown = "the shipped config could not be measured"
    if winner is best:
        return f"It is the best that was found: {shown}."
    return (
        f"Another measured a little better, but not beyond the noise, and this one is closer to "
        f"what is shipped: {shown}."
    )


def reasons(
    objective: Objective, space: Space, trials: Sequence[Trial], winner: Candidate
) -> dict[str, str]:
    """Explains each knob that has a choice by what was measured around the winner.

    Returns:
        A sentence by the name of the knob's field.
    """
    scores = {trial.candidate: trial.score for trial in trials if trial.score}

    def closest(knob: str, value: object) -> Candidate | None:
        """What was measured with that value and differs least otherwise; of these the best."""
        having = [each for each in scores if getattr(each, knob) == value]
        return min(
            having,
            key=lambda each: (len(each.differences(winner)), -objective.goodness(scores[each])),
            default=None,
        )

    def reason(knob: str) -> str:
        value, shipped = getattr(winner, knob), getattr(space.shipped, knob)
        begins = (
            f"{value}, as shipped" if value == shipped else f"{value}, not {shipped} as shipped"
        )
        if winner not in scores:
            return f"{begins}; the winner itself was not measured in the search."
        others = {other: closest(knob, other) for other in space.values(knob) if other != value}
        compared = [
            f"with {other}{_also(candidate, winner, knob)} "
            f"{_value(objective, scores[candidate])}, "
            f"{_compared(objective, scores[winner], scores[candidate])}"
            for other, candidate in others.items()
            if candidate
        ]
        if not compared:
            return f"{begins}: no other value was measured."
        unmeasured = [str(other) for other, candidate in others.items() if not candidate]
        rest = f" Not measured: {', '.join(unmeasured)}." if unmeasured else ""
        return f"{begins}: {_value(objective, scores[winner])}, and {'; '.join(compared)}.{rest}"

    return {knob: reason(knob) for knob in KNOBS if len(space.values(knob)) > 1}


def _compared(objective: Objective, winner: Score, other: Score) -> str:
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
