"""A search from its first measurement to the winner's last run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import fmean

from loadtests.tune.candidate import Candidate
from loadtests.tune.confirmation import FINALISTS, ROUNDS, Finalist, Verdict, decide, typical
from loadtests.tune.errors import BrokenMeasurementError
from loadtests.tune.journal import Journal, Trial
from loadtests.tune.level import Level
from loadtests.tune.measure import Meter, Served
from loadtests.tune.objective import Score
from loadtests.tune.score import score
from loadtests.tune.search import Search
from loadtests.tune.space import Space

MIN_SEARCH = 0.5
"""The part of the budget that the search may use at least; else the finals get what they need."""
STEP_DOWN = 0.92
"""What the rate is multiplied by when the winner does not hold it in its last run."""
_MAX_CONFIRMATIONS = 4


@dataclass(frozen=True)
class Confirmation:
    """The winner's last run.

    Attributes:
        level: What was measured.
        met: Whether the objective held.
        missed: Rates that did not hold in runs as long as this, before it.
    """

    level: Level
    met: bool
    missed: tuple[float, ...] = ()


@dataclass
class Found:
    """What a search came to.

    Attributes:
        trials: Every candidate that the search measured.
        finalists: Those that were measured again.
        verdict: Who won; None where the objective cannot be met.
        confirmation: The winner's last run; None where there was none.
        seconds: How long all of it took, earlier runs included.
    """

    trials: list[Trial] = field(default_factory=list)
    finalists: list[Finalist] = field(default_factory=list)
    verdict: Verdict | None = None
    confirmation: Confirmation | None = None
    seconds: float = 0.0

    @property
    def met(self) -> bool:
        """Whether there is a config that meets the objective."""
        held = self.confirmation is None or self.confirmation.met
        return self.verdict is not None and held


class Listener:
    """Is told what happens; does nothing with it."""

    def trying(self, phase: str, candidate: Candidate, left: float) -> None:
        """A candidate's server is being started; so many seconds of the budget are left."""

    def level(self, level: Level) -> None:
        """One rate was measured."""

    def scored(
        self, phase: str, count: int, trial: Trial, best: tuple[Candidate, Score] | None
    ) -> None:
        """A candidate was measured, in the search as the one of that number."""


class Tuner:
    """Measures until the budget is used.

    Args:
        meter: Measures.
        space: All candidates.
        journal: Where measurements are kept.
        listener: Is told what happens.
        clock: Seconds; another one for tests.
    """

    def __init__(
        self,
        meter: Meter,
        space: Space,
        journal: Journal,
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter = meter
        self._space = space
        self._journal = journal
        self._listener = listener
        self._clock = clock
        self._objective = meter.settings.objective
        before = journal.read()
        known = [trial for trial in before if not trial.round]
        self._finals = {(trial.round, trial.candidate): trial for trial in before if trial.round}
        self.found = Found(known, seconds=sum(trial.seconds for trial in before))
        self._search = Search(space, self._objective, meter.settings.seed, known)
        self._capacity = _capacity_of(known, space.shipped)

    def run(self) -> Found:
        """Searches, holds the finals and lets the winner show that it holds.

        Raises:
            StoppedError: A stop was asked for; what was measured is in the journal.
        """
        self._searching()
        self._hold_finals()
        found = self.found
        found.verdict = decide(self._objective, found.finalists, self._space.shipped)
        if found.verdict and self._meter.settings.confirm_s:
            self._confirm(found.verdict.winner)
        return found

    @property
    def _left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._meter.settings.budget_s - self.found.seconds)

    @property
    def best(self) -> tuple[Candidate, Score] | None:
        """The best candidate so far."""
        ranking = self._search.ranking()
        return ranking[0] if ranking else None

    def _searching(self) -> None:
        while self.found.seconds < self._search_budget():
            candidate = self._search.suggest()
            if candidate is None:
                return
            self._listener.trying("search", candidate, self._left)
            best = self.best
            trial = self._measure(candidate, best[1] if best else None)
            self._journal.append(trial)
            self._search.tell(candidate, trial.score)
            self.found.trials.append(trial)
            self._listener.scored("search", len(self.found.trials), trial, self.best)

    def _search_budget(self) -> float:
        """Seconds after which the finals begin, given what a whole measurement takes."""
        budget = self._meter.settings.budget_s
        whole = [trial.seconds for trial in self.found.trials if trial.score and trial.score.met]
        usual = fmean(whole) if whole else 0.0
        return max(budget * MIN_SEARCH, budget - FINALISTS * ROUNDS * usual)

    def _hold_finals(self) -> None:
        chosen = self._finalists()
        rounds: dict[Candidate, list[Score]] = {each: [] for each in chosen}
        longest = 0.0
        for number in range(1, ROUNDS + 1):
            began = self.found.seconds
            known = all((number, candidate) in self._finals for candidate in chosen)
            if not known and number > 1 and longest > self._left:
                break
            # Every other round goes backwards: no one is always measured first.
            for candidate in chosen[:: 1 if number % 2 else -1]:
                trial = self._final(number, candidate)
                if trial.score:
                    rounds[candidate].append(trial.score)
                else:
                    chosen = [each for each in chosen if each != candidate]
                    del rounds[candidate]
            longest = max(longest, self.found.seconds - began)
        self.found.finalists = [
            Finalist(candidate, tuple(scores)) for candidate, scores in rounds.items()
        ]

    def _final(self, number: int, candidate: Candidate) -> Trial:
        """A finalist's measurement in a round, which an earlier run may have made."""
        known = self._finals.get((number, candidate))
        if known:
            return known
        self._listener.trying("finals", candidate, self._left)
        # From where it was best before: its own limit is what is asked for.
        before = self._known(candidate)
        trial = self._measure(candidate, before, thorough=True)
        trial = replace(trial, round=number)
        self._journal.append(trial)
        self._listener.scored("finals", len(self.found.trials), trial, self.best)
        return trial

    def _finalists(self) -> list[Candidate]:
        """The shipped config, and the best of those that could meet the objective."""
        ranking = self._search.ranking()
        able = [each for each, found in ranking if found.met or found.gave_up]
        if not any(found.met for _, found in ranking):
            return []
        others = [each for each in able if each != self._space.shipped]
        measured = [self._space.shipped] if self._known(self._space.shipped) else []
        return [*measured, *others[: FINALISTS - 1]]

    def _confirm(self, winner: Finalist) -> None:
        """Runs the winner once more, for long; with a p99 at lower rates until one holds."""
        seconds, rate = self._meter.settings.confirm_s, self._objective.rate
        at = rate or typical(self._objective, winner) * STEP_DOWN
        missed: list[float] = []
        with self._meter.serving(winner.candidate) as served:
            while True:
                self._listener.trying("confirm", winner.candidate, seconds)
                level = served.at(at, seconds=seconds)
                self._listener.level(level)
                met = self._objective.holds(level)
                self.found.confirmation = Confirmation(level, met, tuple(missed))
                missed.append(at)
                if met or rate or len(missed) == _MAX_CONFIRMATIONS:
                    return
                at *= STEP_DOWN

    def _known(self, candidate: Candidate) -> Score | None:
        return dict(self._search.ranking()).get(candidate)

    def _measure(
        self, candidate: Candidate, best: Score | None, *, thorough: bool = False
    ) -> Trial:
        """Measures a candidate; a broken measurement has no score."""
        began = self._clock()
        found, broken = None, ""
        try:
            with self._meter.serving(candidate) as served:
                if not self._capacity:
                    self._capacity = self._first_rate(served)
                found = score(
                    self._objective,
                    served,
                    capacity=self._capacity,
                    best=best,
                    thorough=thorough,
                    on_level=self._listener.level,
                )
        except BrokenMeasurementError as error:
            broken = str(error)
        seconds = self._clock() - began
        self.found.seconds += seconds
        return Trial(candidate, found, broken, seconds)

    def _first_rate(self, served: Served) -> float:
        return self._objective.rate or served.capacity()


def _capacity_of(trials: list[Trial], shipped: Candidate) -> float:
    """What the shipped config was first asked, from an earlier run; 0 where there was none."""
    return next((t.score.reach for t in trials if t.candidate == shipped and t.score), 0.0)
