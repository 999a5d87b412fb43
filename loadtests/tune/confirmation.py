"""The best candidates measured again, by turns, and which of them wins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from loadtests.tune.candidate import Candidate
from loadtests.tune.objective import Objective, Score

FINALISTS = 3
"""How many take part, what is shipped included."""
ROUNDS = 4
_T = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t by degrees of freedom, for intervals of 95%."""


@dataclass(frozen=True)
class Ratio:
    """How much better one is than another, as a factor; 1 is equal.

    Attributes:
        middle: The mean over the rounds.
        low: Where it may lie, with 95% confidence.
        high: The same.
    """

    middle: float
    low: float
    high: float

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
class Verdict:
    """Who won, and against whom.

    Attributes:
        winner: The one whose config is written.
        ratios: How much better the winner is than each other finalist; what could not be
            compared, since it missed the objective, is left out.
        why: In a sentence.
    """

    winner: Finalist
    ratios: Mapping[Candidate, Ratio]
    why: str


def typical(objective: Objective, finalist: Finalist) -> float:
    """The median of a finalist's rounds, in the unit of the objective."""
    return median(objective.value(score) for score in finalist.rounds)


def ratio(objective: Objective, one: Finalist, other: Finalist) -> Ratio:
    """Compares two finalists round by round, so that what the machine did meets both alike."""
    logs = [
        objective.goodness(a) - objective.goodness(b)
        for a, b in zip(one.rounds, other.rounds, strict=False)
    ]
    middle = fmean(logs)
    if len(logs) < 2:
        return Ratio(math.exp(middle), 0.0, math.inf)
    t = _T.get(len(logs) - 1, 1.96)
    half = t * stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(min(middle + half, 700)))


def decide(
    objective: Objective, finalists: Sequence[Finalist], shipped: Candidate
) -> Verdict | None:
    """Chooses the simplest of those that are not worse than the best for certain.

    Args:
        objective: What is better.
        finalists: All with the same number of rounds.
        shipped: The fewer knobs differ from it, the simpler a config is.

    Returns:
        None where nobody met the objective.
    """
    able = [each for each in finalists if each.met]
    if not able:
        return None
    best = max(able, key=lambda each: fmean(objective.goodness(s) for s in each.rounds))
    equal = [
        each for each in able if each is best or not ratio(objective, best, each).is_beyond_noise
    ]
    winner = min(equal, key=lambda each: (_changes(each, shipped), each is not best))
    ratios = {each.candidate: ratio(objective, winner, each) for each in able if each is not winner}
    return Verdict(winner, ratios, _why(winner, best, shipped, finalists, ratios))


def _changes(finalist: Finalist, shipped: Candidate) -> int:
    return len(finalist.candidate.differences(shipped))


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
        shown = f"{against.middle:.2f} × as good as the shipped config"
        shown += f" (95%: {against.low:.2f} to {against.high:.2f})"
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
