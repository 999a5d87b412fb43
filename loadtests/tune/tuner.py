"""A search from its first measurement to the winner's last run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean

from loadtests.tune.capacity_search import run_trial, score
from loadtests.tune.confirmation import Confirmation, Decision, Finalist, decide, typical
from loadtests.tune.measure import Meter, Served
from loadtests.tune.results import RateLevel, Score, Trial
from loadtests.tune.search import Search, add_trial, open_study, trials_of
from loadtests.tune.space import Candidate, Space

FINALISTS = 3
"""How many take part in the finals, what is shipped included."""
ROUNDS = 4
MIN_SEARCH = 0.5
"""The part of the budget that the search may use at least; else the finals get what they need."""
STEP_DOWN = 0.92
"""What the rate is multiplied by when the winner does not hold it in its last run."""
_MAX_CONFIRMATIONS = 4
_MAX_RUNS_AT_RATE = 2
"""How often the winner may show that it holds the rate that was asked for."""
_MIN_ROUNDS_MISSED = 3
"""Rounds in which nobody holds that are needed to believe it, whatever is left of the budget:
a machine that stood still for a second spoils one of them."""


@dataclass
class Found:
    """What a search came to."""

    trials: list[Trial]  # every candidate that the search measured
    finalists: list[Finalist] = field(default_factory=list)  # those that were measured again
    decision: Decision | None = None  # who won; None where the objective cannot be met
    confirmation: Confirmation | None = None  # the winner's last run; None where there was none
    seconds: float = 0.0  # how long all of it took, including earlier runs

    @property
    def met(self) -> bool:
        """Whether there is a config that meets the objective."""
        held = self.confirmation is None or self.confirmation.met
        return self.decision is not None and held


class Listener:
    """Is told what happens; does nothing with it."""

    def trying(self, phase: str, candidate: Candidate, left: float) -> None:
        """A candidate's server is being started; so many seconds of the budget are left."""

    def level(self, level: RateLevel) -> None:
        """One rate was measured."""

    def scored(
        self, phase: str, count: int, trial: Trial, best: tuple[Candidate, Score] | None
    ) -> None:
        """A candidate was measured, in the search as the one of that number."""


class Tuner:
    """Measures until the budget is used; goes on with the trials that its file has.

    Attributes:
        known: How many trials the file had.
    """

    def __init__(
        self,
        meter: Meter,
        space: Space,
        file: Path,
        listener: Listener,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._meter = meter
        self._settings = meter.settings
        self._space = space
        self._listener = listener
        self._clock = clock
        self._search = Search(space, self._settings, self._settings.seed, file)
        self._finals = open_study(file, "finals")
        known = [*self._search.trials, *trials_of(self._finals)]
        self.known = len(known)
        self._found = Found(self._search.trials, seconds=sum(trial.seconds for trial in known))
        shipped = self._search.scores.get(space.shipped)
        self._capacity = shipped.reach if shipped else 0.0

    def run(self) -> Found:
        """Searches, holds the finals and lets the winner show that it holds.

        Raises:
            StoppedError: A stop was asked for; what was measured is kept.
        """
        self._run_search()
        found = self._found
        found.finalists = self._hold_finals()
        found.decision = decide(self._settings, found.finalists, self._space.shipped)
        if found.decision and self._settings.confirm_s:
            self._confirm(found.decision.winner)
        return found

    @property
    def _left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._settings.budget_s - self._found.seconds)

    def _run_search(self) -> None:
        while self._found.seconds < self._search_budget():
            candidate = self._search.suggest()
            if candidate is None:
                return
            best = self._search.best
            trial = self._measure("search", candidate, best[1] if best else None)
            self._search.tell(trial)
            self._tell_listener("search", trial)

    def _search_budget(self) -> float:
        """Seconds after which the finals begin, given what a whole measurement takes."""
        budget = self._settings.budget_s
        whole = [trial.seconds for trial in self._found.trials if trial.score and trial.score.met]
        usual = fmean(whole) if whole else 0.0
        return max(budget * MIN_SEARCH, budget - FINALISTS * ROUNDS * usual)

    def _hold_finals(self) -> list[Finalist]:
        earlier = {(trial.round, trial.candidate): trial for trial in trials_of(self._finals)}
        chosen = self._finalists()
        rounds: dict[Candidate, list[Score]] = {each: [] for each in chosen}
        longest = 0.0
        for number in range(1, ROUNDS + 1):
            began = self._found.seconds
            is_known = all((number, candidate) in earlier for candidate in chosen)
            is_doubtful = number <= _MIN_ROUNDS_MISSED and not any(
                Finalist(candidate, tuple(scores)).met for candidate, scores in rounds.items()
            )
            if not is_known and number > 1 and longest > self._left and not is_doubtful:
                break
            # Every other round goes backwards: no one is always measured first.
            for candidate in chosen[:: 1 if number % 2 else -1]:
                trial = earlier.get((number, candidate)) or self._final(number, candidate)
                if trial.score:
                    rounds[candidate].append(trial.score)
                else:
                    chosen = [each for each in chosen if each != candidate]
                    del rounds[candidate]
            longest = max(longest, self._found.seconds - began)
        return [Finalist(candidate, tuple(scores)) for candidate, scores in rounds.items()]

    def _final(self, number: int, candidate: Candidate) -> Trial:
        """Measures a finalist in a round."""
        # From where it was best before: its own limit is what is asked for.
        before = self._search.scores.get(candidate)
        trial = self._measure("finals", candidate, before, thorough=True)
        trial = replace(trial, round=number)
        add_trial(self._finals, trial, self._settings)
        self._tell_listener("finals", trial)
        return trial

    def _finalists(self) -> list[Candidate]:
        """The shipped config, and the best of those that could meet the objective."""
        ranking, shipped = self._search.ranking(), self._space.shipped
        if not any(score.met for _, score in ranking):
            return []
        able = [each for each, score in ranking if score.met or score.gave_up]
        others = [each for each in able if each != shipped]
        measured = [shipped] if shipped in self._search.scores else []
        return [*measured, *others[: FINALISTS - 1]]

    def _confirm(self, winner: Finalist) -> None:
        """Runs the winner once more, for long; with a p99 at lower rates until one holds."""
        settings = self._settings
        most = _MAX_RUNS_AT_RATE if settings.rate else _MAX_CONFIRMATIONS
        rate = settings.rate or typical(settings, winner) * STEP_DOWN
        missed: list[float] = []
        with self._meter.serving(winner.candidate) as served:
            while True:
                self._listener.trying("confirm", winner.candidate, settings.confirm_s)
                level = served.at(rate, seconds=settings.confirm_s)
                self._listener.level(level)
                met = settings.holds(level)
                self._found.confirmation = Confirmation(level, met, tuple(missed))
                missed.append(rate)
                if met or len(missed) == most:
                    return
                rate *= 1.0 if settings.rate else STEP_DOWN

    def _measure(
        self, phase: str, candidate: Candidate, best: Score | None, *, thorough: bool = False
    ) -> Trial:
        self._listener.trying(phase, candidate, self._left)

        def scored(served: Served) -> Score:
            self._capacity = self._capacity or self._settings.rate or served.capacity()
            return score(
                self._settings,
                served,
                capacity=self._capacity,
                best=best,
                thorough=thorough,
                on_level=self._listener.level,
            )

        trial = run_trial(self._meter, candidate, scored, self._clock)
        self._found.seconds += trial.seconds
        return trial

    def _tell_listener(self, phase: str, trial: Trial) -> None:
        self._listener.scored(phase, len(self._found.trials), trial, self._search.best)
