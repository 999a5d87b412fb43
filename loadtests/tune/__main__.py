"""The command line: `python -m loadtests.tune`, which `make tune` calls, and what it shows."""

from __future__ import annotations

import json
import os
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from build.errors import BuildError
from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.load.settings import Protocol, option
from loadtests.report.machine import machine
from loadtests.report.terminal import print_error
from loadtests.tune.measure import Meter, StoppedError
from loadtests.tune.model_graph import TUNED, ModelGraph, write_tuned
from loadtests.tune.report import Report
from loadtests.tune.results import RateLevel, Score, Trial
from loadtests.tune.search import file_of
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Candidate
from loadtests.tune.tuner import Listener, Tuner
from server.errors import ServerError
from server.signals import StopSignals


class ExitCode(IntEnum):
    """What the exit code says to a script."""

    FOUND = 0
    ERROR = 1
    NOT_MET = 2
    INTERRUPTED = 130


_HELP = """Exit codes: 0 a config was written; 1 an error, such as a setting that cannot be used;
2 the objective cannot be met: the closest is shown and nothing is written; 130 stopped, and the
same command goes on where it was."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command(epilog=_HELP)
def main(  # noqa: PLR0917 - typer makes options of them
    model: Annotated[str, option("MODEL", "What is tuned, all its parts together.")] = "sentiment",
    p99_ms: Annotated[
        float | None, option("P99_MS", "Most throughput with p99 under so many milliseconds.")
    ] = None,
    rate: Annotated[
        float | None, option("RATE", "Or: least latency at so many requests a second.")
    ] = None,
    protocol: Annotated[Protocol, option("PROTOCOL", "How it is asked.")] = Protocol.HTTP,
    budget_s: Annotated[int, option("BUDGET_S", "Seconds for search and finals.")] = 1800,
    confirm_s: Annotated[
        int, option("CONFIRM_S", "Seconds of the winner's last run; 0 leaves it out.")
    ] = 120,
    seed: Annotated[int, option("SEED", "Of inputs, arrivals and the search.")] = 0,
    measure_s: Annotated[int, option("MEASURE_S", "Of one measurement.")] = 3,
    inputs: Annotated[int, option("INPUTS", "Different test inputs.")] = 300,
    reports: Annotated[Path, typer.Option(help="Folder of reports.")] = ROOT / "reports",
    state: Annotated[
        Path, typer.Option(help="Folder of measurements, by which a search goes on.")
    ] = ROOT / ".run" / "tune",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget what was measured before.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, not a summary.")
    ] = False,
) -> None:
    """Find the config that meets an objective, by measuring, and write it."""
    repository = Path(os.environ.get("MODEL_REPOSITORY") or ROOT / "model_repository").absolute()
    try:
        settings = TuneSettings(
            model=model,
            p99_ms=p99_ms,
            rate=rate,
            protocol=protocol,
            budget_s=budget_s,
            confirm_s=confirm_s,
            seed=seed,
            measure_s=measure_s,
            inputs=inputs,
            model_repository=repository,
            state=state,
        )
        with StopSignals() as signals:
            meter = Meter(settings, ModelGraph.of(repository, model), signals.stop)
            code = _tune(meter, reports, fresh=fresh, as_json=as_json)
    except StoppedError:
        _err.print("stopped; the same command goes on where it was", markup=False)
        code = ExitCode.INTERRUPTED
    except (LoadTestError, ServerError, BuildError) as error:
        print_error(_err, error)
        code = ExitCode.ERROR
    raise typer.Exit(code)


def _tune(meter: Meter, reports: Path, *, fresh: bool, as_json: bool) -> ExitCode:
    settings, space = meter.settings, meter.graph.space()
    file = file_of(settings, meter.graph, space)
    if fresh:
        file.unlink(missing_ok=True)
    screen = Screen(_err, settings)
    tuner = Tuner(meter, space, file, screen)
    known = f", {tuner.known} measured before ({file})" if tuner.known else ""
    _err.print(
        f"{settings.model}: {settings.sentence}; {len(space.candidates)} candidates{known}",
        markup=False,
    )
    with screen.progress:
        report = Report(settings, space, tuner.run(), meter.triton)
    page = report.write(reports)
    if as_json:
        print(json.dumps(report.facts))
    else:
        print_summary(Console(highlight=False), report)
    _err.print(f"report: {page}", style="dim", markup=False)
    return _conclude(meter.graph, report)


def _conclude(graph: ModelGraph, report: Report) -> ExitCode:
    """Writes the config, or says what came closest."""
    settings, found, near = report.settings, report.found, report.closest
    if not near:
        why = found.trials[-1].broken if found.trials else "BUDGET_S is too short"
        raise LoadTestError(f"nothing could be measured: {why}")
    if not found.met:
        _err.print(
            f"{settings.word} cannot be met, and no config was written; closest: "
            f"{near[0].title}: {settings.shown(near[1])}",
            style="red",
            markup=False,
        )
        return ExitCode.NOT_MET
    for path in write_tuned(graph, report.chosen, _comments(report)):
        _err.print(f"wrote {path}", markup=False)
    _err.print(f"make serve CONFIG={TUNED} serves it", markup=False)
    return ExitCode.FOUND


def _comments(report: Report) -> list[str]:
    """What stands above a config that was found."""
    where, settings, found = machine(), report.settings, report.found
    lines = [
        f"Found by: {settings.command()}",
        f"Objective: {settings.sentence}.",
        f"Measured on {where['processor']}, {where['cores']} cores, {where['memory']}, with the "
        "load generator on the same machine.",
        report.facts["why"],
    ]
    if found.confirmation:
        level = found.confirmation.level
        lines.append(
            f"Last run: {level.seconds:.0f} s at {level.rate:.1f} requests a second: p99 "
            f"{level.p99:.1f} ms, p50 {level.p50:.1f} ms, {level.failed} of {level.requests} "
            "failed."
        )
    return lines


class Screen(Listener):
    """Shows what is being tried, the best so far, and how much time is left.

    On a terminal the last line shows progress, inside a `with` block of `progress`; elsewhere
    each candidate gets a line.
    """

    def __init__(self, console: Console, settings: TuneSettings) -> None:
        self._settings = settings
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self.progress.add_task("starting", total=settings.budget_s, left="")
        self._title = ""
        self._best = ""

    def trying(self, phase: str, candidate: Candidate, left: float) -> None:
        """Shows what is being started."""
        self._title = f"{phase}: {candidate.title}"
        whole = left if phase == "confirm" else float(self._settings.budget_s)
        self.progress.update(
            self._task,
            description=f"{self._title}{self._best}",
            total=whole,
            completed=whole - left,
            left=f"{max(left, 0):.0f} s left",
        )

    def level(self, level: RateLevel) -> None:
        """Shows the rate that was just measured."""
        what = f"{level.rate:.0f} a second: p99 {level.p99:.0f} ms"
        self.progress.update(self._task, description=f"{self._title} · {what}{self._best}")

    def scored(
        self, phase: str, count: int, trial: Trial, best: tuple[Candidate, Score] | None
    ) -> None:
        """Prints a line of the candidate."""
        number = f"{count:3d} " if phase == "search" else f"  {trial.round} "
        shown = self._settings.shown(trial.score) if trial.score else f"not scored: {trial.broken}"
        self.progress.console.print(
            f"{number}{phase}: {trial.candidate.title}: {shown} ({trial.seconds:.0f} s)",
            markup=False,
        )
        if best and best[1].met:
            self._best = f" · best {self._settings.shown(best[1])}"


def print_summary(console: Console, report: Report) -> None:
    """Prints the finals as a table and what was decided."""
    settings, found = report.settings, report.found
    if rows := report.finalist_rows():
        unit = "p99, ms" if settings.rate else "a second"
        table = Table("", "config", box=None, pad_edge=False)
        for heading in (f"{unit}, median", "lowest – highest", "chosen against it"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    if found.decision:
        console.print(found.decision.winner.candidate.title, style="bold", markup=False)
        console.print(found.decision.why, markup=False)
        for reason in report.facts["reasons"].values():
            console.print(f"· {reason}", style="dim", markup=False)
    if found.confirmation:
        level, met = found.confirmation.level, found.confirmation.met
        console.print(
            f"last run, {level.seconds:.0f} s at {level.rate:.1f} a second: "
            f"p99 {level.p99:.1f} ms, {level.failed} of {level.requests} failed: "
            f"{settings.word} {'held' if met else 'did not hold'}",
            style="green" if met else "red",
            markup=False,
        )


if __name__ == "__main__":
    app(prog_name="python -m loadtests.tune")
