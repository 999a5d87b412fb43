"""Which candidate is measured next: Optuna's search, without a server and without a clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from loadtests.tune.candidate import Candidate
from loadtests.tune.journal import Trial
from loadtests.tune.objective import Objective, Score
from loadtests.tune.space import Space

STARTUP = 4
"""Candidates that chance chooses, before what was measured decides."""
_LAYOUT = "layout"
"""Instances and threads are one choice: only some pairs of them exist."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Search:
    """Suggests candidates and learns from their scores.

    The sampler is a Gaussian process over all knobs together, which is made for few and costly
    measurements with noise. It may suggest what was measured already, the space being small;
    then the nearest candidate to the best one is taken that was not.

    Args:
        space: All candidates.
        objective: What is better.
        seed: Of the sampler.
        known: Trials of a search that was stopped.
    """

    def __init__(
        self, space: Space, objective: Objective, seed: int, known: Iterable[Trial] = ()
    ) -> None:
        self._space = space
        self._objective = objective
        self._trials: dict[Candidate, Score | None] = {}
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._distributions = _distributions(space)
        self._asked: optuna.trial.Trial | None = None
        for trial in known:
            self.tell(trial.candidate, trial.score)

    @property
    def measured(self) -> int:
        """How many candidates were measured, broken measurements included."""
        return len(self._trials)

    def ranking(self) -> list[tuple[Candidate, Score]]:
        """Those with a score, the best first; of equal ones the one closest to what is shipped."""
        scored = [(each, score) for each, score in self._trials.items() if score]
        return sorted(
            scored,
            key=lambda pair: (
                not pair[1].met,
                -self._objective.goodness(pair[1]),
                len(pair[0].differences(self._space.shipped)),
            ),
        )

    def suggest(self) -> Candidate | None:
        """What to measure next; the shipped config first. None once everything was."""
        self._asked = None
        if self._space.shipped not in self._trials:
            return self._space.shipped
        left = [each for each in self._space.candidates if each not in self._trials]
        if not left:
            return None
        asked = self._study.ask(self._distributions)
        candidate = self._candidate(asked.params)
        if candidate in left:
            self._asked = asked
            return candidate
        self._study.tell(asked, self._known_value(candidate), TrialState.COMPLETE)
        return min(left, key=self._distance_to_best)

    def tell(self, candidate: Candidate, score: Score | None) -> None:
        """Learns what a candidate came to; None where its measurement was broken."""
        self._trials[candidate] = score
        asked, self._asked = self._asked, None
        if asked is not None and self._candidate(asked.params) == candidate:
            if score is None:
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._study.tell(asked, self._objective.goodness(score))
        elif score is not None:
            self._study.add_trial(
                create_trial(
                    params=self._params(candidate),
                    distributions=self._distributions,
                    value=self._objective.goodness(score),
                )
            )

    def _known_value(self, candidate: Candidate) -> float:
        """The goodness of a candidate that was measured; the worst of all where it was broken."""
        values = {
            each: self._objective.goodness(score) for each, score in self._trials.items() if score
        }
        return values.get(candidate, min(values.values(), default=0.0))

    def _distance_to_best(self, candidate: Candidate) -> tuple[int, Candidate]:
        ranking = self.ranking()
        best = ranking[0][0] if ranking else self._space.shipped
        return self._space.distance(best, candidate), candidate

    def _params(self, candidate: Candidate) -> dict[str, Any]:
        params: dict[str, Any] = {
            knob: self._space.values(knob).index(getattr(candidate, knob))
            for knob in self._distributions
            if knob != _LAYOUT
        }
        return {**params, _LAYOUT: _layout(candidate)}

    def _candidate(self, params: dict[str, Any]) -> Candidate:
        values: dict[str, Any] = {
            knob: self._space.values(knob)[place]
            for knob, place in params.items()
            if knob != _LAYOUT
        }
        if values["max_batch_size"] == 1:
            values["delay_us"] = 0
        instances, threads = (int(number) for number in params[_LAYOUT].split("x"))
        return Candidate(**values, instances=instances, threads=threads)


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    """Places in the ordered lists of the knobs' values, and layouts, which have no order."""
    ordered = ("file", "max_batch_size", "delay_us", "front_instances")
    found: dict[str, BaseDistribution] = {
        knob: IntDistribution(0, len(space.values(knob)) - 1) for knob in ordered
    }
    layouts = sorted({_layout(candidate) for candidate in space.candidates})
    return {**found, _LAYOUT: CategoricalDistribution(layouts)}


def _layout(candidate: Candidate) -> str:
    return f"{candidate.instances}x{candidate.threads}"
