"""Which candidate is measured next: Optuna's search, whose trials lie in a file.

A file has the study of the search, which decides, and may have others that only keep trials.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial
from pydantic import TypeAdapter

from loadtests.load.errors import LoadTestError
from loadtests.report.machine import machine, package_version
from loadtests.tune.model_graph import ModelGraph
from loadtests.tune.results import Score, Trial
from loadtests.tune.settings import Objective, TuneSettings
from loadtests.tune.space import Candidate, Space

STARTUP = 4
"""Candidates that chance chooses, before what was measured decides."""
_LAYOUT = "layout"
"""Instances and threads are one choice: only some pairs of them exist."""
_TRIAL = "trial"
"""The attribute of Optuna's trials that holds ours."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
trial_from_dict = TypeAdapter(Trial).validate_python
"""Turns `asdict` of a trial back into it."""


def file_of(settings: TuneSettings, graph: ModelGraph, space: Space) -> Path:
    """The file of a search: another one as soon as anything differs that it depends on."""
    depends = {
        "model": settings.model,
        "objective": settings.word,
        "protocol": settings.protocol.value,
        "seed": settings.seed,
        "seconds": settings.measure_s,
        "inputs": settings.inputs,
        "space": [asdict(candidate) for candidate in space.candidates],
        "files": graph.digest(),
        "machine": machine(),
        "packages": [package_version(name) for name in ("nvidia-pytriton", "onnxruntime")],
        "format": "optuna",
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{settings.model}-{settings.word.lower().replace('=', '-')}-{key}.jsonl"
    return settings.state / name


def open_study(
    file: Path | None, name: str, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.Study:
    """Opens one of a file's studies, which is made where it is missing.

    Each trial is written at once, so that it is kept whatever happens afterwards; without a file
    they are in memory.

    Raises:
        LoadTestError: The file cannot be read.
    """
    storage = None
    try:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            _cut_torn_line(file)
            storage = JournalStorage(JournalFileBackend(str(file)))
        return optuna.create_study(
            direction="maximize",
            storage=storage,
            study_name=name,
            sampler=sampler,
            load_if_exists=True,
        )
    except (AssertionError, KeyError, TypeError, ValueError, OSError) as error:
        raise LoadTestError(
            f"{file} cannot be read ({type(error).__name__}: {error}): remove it, as --fresh does"
        ) from error


def _cut_torn_line(file: Path) -> None:
    """Removes a last line that was not written to its end, or the next would be joined to it."""
    data = file.read_bytes() if file.is_file() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        file.write_bytes(whole)


def trials_of(study: optuna.Study) -> list[Trial]:
    """All trials that were measured, in order."""
    kept = [each.user_attrs.get(_TRIAL) for each in study.get_trials(deepcopy=False)]
    return [trial_from_dict(attributes) for attributes in kept if attributes]


def add_trial(study: optuna.Study, trial: Trial, objective: Objective, **point: Any) -> None:
    """Adds a trial that the study did not suggest.

    With its `params` and `distributions` in `point` the study learns from it.
    """
    value, state = _outcome(trial, objective)
    attributes = {_TRIAL: asdict(trial)}
    study.add_trial(create_trial(state=state, value=value, user_attrs=attributes, **point))


def _outcome(trial: Trial, objective: Objective) -> tuple[float | None, TrialState]:
    if trial.score is None:
        return None, TrialState.FAIL
    return objective.goodness(trial.score), TrialState.COMPLETE


class Search:
    """Suggests candidates and learns from their scores.

    The sampler is a Gaussian process over all knobs together, which is made for few and costly
    measurements with noise. It may suggest what was measured already, the space being small;
    then the candidate nearest to the best one is taken that was not. A search that was stopped
    goes on with the trials of its file.

    Attributes:
        trials: All that was measured, broken measurements included.
    """

    def __init__(
        self, space: Space, objective: Objective, seed: int, file: Path | None = None
    ) -> None:
        self._space = space
        self._objective = objective
        self._distributions = _distributions(space)
        sampler = optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
        self._study = open_study(file, "search", sampler)
        self._asked: optuna.trial.Trial | None = None
        for stopped in self._study.get_trials(states=(TrialState.RUNNING,)):
            self._study.tell(stopped.number, state=TrialState.FAIL)
        self.trials = trials_of(self._study)

    @property
    def scores(self) -> dict[Candidate, Score]:
        """Of every candidate whose measurement was not broken."""
        return {trial.candidate: trial.score for trial in self.trials if trial.score}

    def ranking(self) -> list[tuple[Candidate, Score]]:
        """Those with a score, the best first; of equal ones the one closest to what is shipped."""
        return sorted(
            self.scores.items(),
            key=lambda pair: (
                not pair[1].met,
                -self._objective.goodness(pair[1]),
                len(pair[0].differences(self._space.shipped)),
            ),
        )

    @property
    def best(self) -> tuple[Candidate, Score] | None:
        """The best candidate so far."""
        return next(iter(self.ranking()), None)

    def suggest(self) -> Candidate | None:
        """What to measure next; the shipped config first. None once everything was measured."""
        self._asked = None
        measured = {trial.candidate for trial in self.trials}
        if self._space.shipped not in measured:
            return self._space.shipped
        left = [each for each in self._space.candidates if each not in measured]
        if not left:
            return None
        asked = self._study.ask(self._distributions)
        candidate = self._candidate(asked.params)
        if candidate in left:
            self._asked = asked
            return candidate
        self._study.tell(asked, self._known_value(candidate))
        center = self.best[0] if self.best else self._space.shipped
        return min(left, key=lambda each: (self._space.distance(center, each), each))

    def tell(self, trial: Trial) -> None:
        """Learns what a candidate came to, and keeps it."""
        self.trials.append(trial)
        asked, self._asked = self._asked, None
        if asked is not None and self._candidate(asked.params) == trial.candidate:
            asked.set_user_attr(_TRIAL, asdict(trial))
            self._study.tell(asked, *_outcome(trial, self._objective))
        else:
            params = self._params(trial.candidate)
            add_trial(
                self._study,
                trial,
                self._objective,
                params=params,
                distributions=self._distributions,
            )

    def _known_value(self, candidate: Candidate) -> float:
        """The goodness of a candidate that was measured; the worst of all where it was broken."""
        values = {each: self._objective.goodness(score) for each, score in self.scores.items()}
        return values.get(candidate, min(values.values(), default=0.0))

    def _params(self, candidate: Candidate) -> dict[str, Any]:
        places = {
            knob: self._space.values(knob).index(getattr(candidate, knob))
            for knob in self._distributions
            if knob != _LAYOUT
        }
        return {**places, _LAYOUT: _layout(candidate)}

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
