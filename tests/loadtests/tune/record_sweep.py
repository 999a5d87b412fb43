"""Records a whole space: `python -m tests.loadtests.tune.record_sweep`.

A search is tested on such a recording, without a server. A sweep that is stopped goes on where
it was.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import optuna
import typer
from rich.console import Console

from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.report.machine import machine, versions
from loadtests.tune.capacity_search import run_trial, score
from loadtests.tune.measure import Meter, Served
from loadtests.tune.model_graph import ModelGraph
from loadtests.tune.results import Score, Trial
from loadtests.tune.search import add_trial, file_of, open_study, trials_of
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Candidate
from server.signals import StopSignals

_err = Console(stderr=True, highlight=False, soft_wrap=True)


def main(  # noqa: PLR0917 - typer makes options of them
    model: Annotated[str, typer.Option(envvar="MODEL")],
    out: Annotated[Path, typer.Option(help="The recording, written once it is complete.")],
    p99_ms: Annotated[float | None, typer.Option(envvar="P99_MS")] = None,
    rate: Annotated[float | None, typer.Option(envvar="RATE")] = None,
    measure_s: Annotated[int, typer.Option(envvar="MEASURE_S", help="Of one measurement.")] = 3,
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
        model=model,
        p99_ms=p99_ms,
        rate=rate,
        seed=seed,
        measure_s=measure_s,
        state=ROOT / ".run" / "sweep",
    )
    graph = ModelGraph.of(settings.model_repository, model)
    # All memory counts: what is free changes, and the space has to stay the same.
    space = graph.space(memory=1 << 62)
    study = open_study(file_of(settings, graph, space), "sweep")
    began = time.monotonic()
    with StopSignals() as signals:
        meter = Meter(
            settings, graph, lambda: signals.stop() or time.monotonic() - began > stop_after
        )
        try:
            order = list(space.candidates)
            random.Random(settings.seed).shuffle(order)  # noqa: S311 - it only orders
            order.sort(key=lambda candidate: candidate != space.shipped)
            _sweep(meter, order, study, 0)
            # The best of many single readings is the luckiest one.
            first = [(each.candidate, each.score) for each in trials_of(study) if not each.round]
            met = [(settings.goodness(s), c) for c, s in first if s and s.met]
            chosen = [candidate for _, candidate in sorted(met, reverse=True)[:again]]
            for number in range(1, rounds + 1 if again else 0):
                _sweep(meter, chosen[:: (-1) ** number], study, number)
        except LoadTestError as error:
            _err.print(f"{error}: {len(trials_of(study))} measurements are kept", markup=False)
            raise typer.Exit(3) from None
    options = f" --again {again} --rounds {rounds}" if again else ""
    head = {
        "recorded": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        "command": f"MODEL={settings.model} {settings.word} MEASURE_S={settings.measure_s} "
        f"SEED={settings.seed} python -m tests.loadtests.tune.record_sweep{options}",
        "model": settings.model,
        "p99_ms": settings.p99_ms,
        "rate": settings.rate,
        "machine": machine(),
        "versions": versions(meter.triton),
        "shipped": asdict(space.shipped),
    }
    trials = ",\n".join(json.dumps(_recorded(trial)) for trial in trials_of(study))
    opened = json.dumps(head, indent=1).removesuffix("\n}")
    out.write_text(f'{opened},\n "trials": [\n{trials}\n]\n}}\n')


def _sweep(meter: Meter, order: list[Candidate], study: optuna.Study, number: int) -> None:
    settings = meter.settings
    trials = trials_of(study)
    known = {trial.candidate for trial in trials if trial.round == number}
    for candidate in order:
        if candidate in known:
            continue
        met = [trial.score for trial in trials if trial.score and trial.score.met]
        best = max(met, key=settings.goodness, default=None)
        trial = replace(_measure(meter, candidate, best), round=number)
        add_trial(study, trial, settings)
        trials.append(trial)
        known.add(candidate)
        shown = settings.shown(trial.score) if trial.score else trial.broken
        _err.print(
            f"round {number}, {len(known)} of {len(order)}: {candidate.title}: {shown} "
            f"({trial.seconds:.0f} s)",
            markup=False,
        )


def _measure(meter: Meter, candidate: Candidate, best: Score | None) -> Trial:
    def scored(served: Served) -> Score:
        capacity = best.reach if best else served.capacity()
        return score(meter.settings, served, capacity=capacity, best=best, thorough=True)

    return run_trial(meter, candidate, scored)


def _recorded(trial: Trial) -> dict[str, Any]:
    """A trial without all that was tried on the way to its score."""
    score = trial.score and replace(trial.score, levels=())
    return asdict(replace(trial, score=score))


if __name__ == "__main__":
    typer.run(main)
