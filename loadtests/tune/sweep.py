"""Records a whole space, each candidate measured to the end: `python -m loadtests.tune.sweep`.

A search is tested on such a recording, without a server. A sweep that is stopped goes on where
it was.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.report.machine import machine, versions
from loadtests.tune.candidate import Candidate
from loadtests.tune.errors import BrokenMeasurementError
from loadtests.tune.journal import Journal, Trial, journal_of, trial_as_dict
from loadtests.tune.measure import Meter
from loadtests.tune.model_graph import Anatomy
from loadtests.tune.objective import Objective, Score
from loadtests.tune.score import score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Space, space_of
from server.signals import StopSignals

_err = Console(stderr=True, highlight=False, soft_wrap=True)


def main(  # noqa: PLR0917 - typer makes options of them
    model: Annotated[str, typer.Option(envvar="MODEL")],
    out: Annotated[Path, typer.Option(help="The recording, written once it is complete.")],
    p99_ms: Annotated[float | None, typer.Option(envvar="P99_MS")] = None,
    rate: Annotated[float | None, typer.Option(envvar="RATE")] = None,
    seconds: Annotated[int, typer.Option(envvar="SECONDS", help="Of one measurement.")] = 3,
    seed: Annotated[int, typer.Option(envvar="SEED")] = 0,
    again: Annotated[
        int, typer.Option(help="How many of the best are measured in further rounds.")
    ] = 0,
    rounds: Annotated[int, typer.Option(help="How many further rounds.")] = 1,
    stop_after: Annotated[int, typer.Option(help="Seconds until it stops by itself.")] = 10**9,
) -> None:
    """Measure every candidate of a model, in an order that the seed draws.

    Exit code 0 once the recording is complete, 3 while it is not.
    """
    settings = TuneSettings(
        model, Objective(p99_ms, rate), seed=seed, seconds=seconds, state=ROOT / ".run" / "sweep"
    )
    anatomy = Anatomy.of(settings.repository, model)
    # All memory counts: what is free changes, and the space has to stay the same.
    space = space_of(anatomy, memory=1 << 62)
    journal = journal_of(settings, anatomy, space)
    began = time.monotonic()
    with StopSignals() as signals:
        meter = Meter(
            settings, anatomy, lambda: signals.stop() or time.monotonic() - began > stop_after
        )
        try:
            order = list(space.candidates)
            random.Random(settings.seed).shuffle(order)  # noqa: S311 - it only orders
            order.sort(key=lambda candidate: candidate != space.shipped)
            _sweep(meter, order, journal, 0)
            # The best of many single readings is the luckiest one.
            chosen = _ranking(settings.objective, journal.read())[:again]
            for number in range(1, rounds + 1 if again else 0):
                _sweep(meter, chosen[:: (-1) ** number], journal, number)
        except LoadTestError as error:
            _err.print(f"{error}: {len(journal.read())} measurements are kept", markup=False)
            raise typer.Exit(3) from None
    options = f" --again {again} --rounds {rounds}" if again else ""
    recording = _recording(meter, space, journal, options)
    trials = ",\n".join(json.dumps(trial) for trial in recording.pop("trials"))
    head = json.dumps(recording, indent=1).removesuffix("\n}")
    out.write_text(f'{head},\n "trials": [\n{trials}\n]\n}}\n')


def _sweep(meter: Meter, order: list[Candidate], journal: Journal, number: int) -> None:
    settings = meter.settings
    trials = journal.read()
    known = {trial.candidate for trial in trials if trial.round == number}
    best = _best(settings.objective, trials)
    for candidate in order:
        if candidate in known:
            continue
        began = time.monotonic()
        found, broken = None, ""
        try:
            with meter.serving(candidate) as served:
                capacity = best.reach if best else served.capacity()
                found = score(
                    settings.objective, served, capacity=capacity, best=best, thorough=True
                )
        except BrokenMeasurementError as error:
            broken = str(error)
        trial = Trial(candidate, found, broken, time.monotonic() - began, number)
        journal.append(trial)
        trials.append(trial)
        best = _best(settings.objective, trials)
        shown = settings.objective.shown(found) if found else broken
        known.add(candidate)
        _err.print(
            f"round {number}, {len(known)} of {len(order)}: {candidate.title}: {shown} "
            f"({trial.seconds:.0f} s)",
            markup=False,
        )


def _ranking(objective: Objective, trials: list[Trial]) -> list[Candidate]:
    """The candidates of the first round that met the objective, the best first."""
    met = [trial for trial in trials if not trial.round and trial.score and trial.score.met]
    met.sort(key=lambda trial: objective.goodness(trial.score) if trial.score else 0.0)
    return [trial.candidate for trial in reversed(met)]


def _best(objective: Objective, trials: list[Trial]) -> Score | None:
    scores = [trial.score for trial in trials if trial.score and trial.score.met]
    return max(scores, key=objective.goodness, default=None)


def _recording(meter: Meter, space: Space, journal: Journal, options: str) -> dict[str, Any]:
    settings = meter.settings
    return {
        "recorded": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "command": f"MODEL={settings.model} {settings.objective.word} SECONDS={settings.seconds} "
        f"SEED={settings.seed} python -m loadtests.tune.sweep{options}",
        "model": settings.model,
        "p99_ms": settings.objective.p99_ms,
        "rate": settings.objective.rate,
        "machine": machine(),
        "versions": versions(meter.triton),
        "shipped": space.shipped.as_dict(),
        "trials": [_recorded(trial) for trial in journal.read()],
    }


def _recorded(trial: Trial) -> dict[str, Any]:
    """A trial without all that was tried on the way to its score."""
    score = trial.score and replace(trial.score, levels=())
    return trial_as_dict(replace(trial, score=score))


if __name__ == "__main__":
    typer.run(main)
