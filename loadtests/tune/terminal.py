"""What a person sees while a search runs, and the table after it."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests.tune.candidate import Candidate
from loadtests.tune.journal import Trial
from loadtests.tune.level import Level
from loadtests.tune.objective import Objective, Score
from loadtests.tune.report import finalist_rows
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Space
from loadtests.tune.tuner import Found, Listener


class Screen(Listener):
    """Shows what is being tried, the best so far, and how long still.

    On a terminal a line at the bottom moves; elsewhere there is a line a candidate.

    Args:
        console: Where to.
        settings: Of the search.
    """

    def __init__(self, console: Console, settings: TuneSettings) -> None:
        self._console = console
        self._settings = settings
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[left]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=settings.budget_s, left="")
        self._title = ""
        self._best = ""

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def trying(self, phase: str, candidate: Candidate, left: float) -> None:
        """Shows what is being started."""
        self._title = f"{phase}: {candidate.title}"
        whole = left if phase == "confirm" else float(self._settings.budget_s)
        self._progress.update(
            self._task,
            description=f"{self._title}{self._best}",
            total=whole,
            completed=whole - left,
            left=f"{max(left, 0):.0f} s left",
        )

    def level(self, level: Level) -> None:
        """Shows the rate that was just measured."""
        what = f"{level.rate:.0f} a second: p99 {level.p99:.0f} ms"
        self._progress.update(self._task, description=f"{self._title} · {what}{self._best}")

    def scored(
        self, phase: str, count: int, trial: Trial, best: tuple[Candidate, Score] | None
    ) -> None:
        """Prints a line of the candidate."""
        objective = self._settings.objective
        number = f"{count:3d} " if phase == "search" else f"  {trial.round} "
        shown = objective.shown(trial.score) if trial.score else f"not scored: {trial.broken}"
        self._progress.console.print(
            f"{number}{phase}: {trial.candidate.title}: {shown} ({trial.seconds:.0f} s)",
            markup=False,
        )
        if best and best[1].met:
            self._best = f" · best {objective.shown(best[1])}"


def print_summary(
    console: Console, settings: TuneSettings, space: Space, found: Found, facts: dict[str, Any]
) -> None:
    """Prints the finals as a table and what was decided."""
    objective = settings.objective
    rows = finalist_rows(objective, found, space)
    if rows:
        unit = "p99, ms" if objective.rate else "a second"
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        table.add_column("config")
        for heading in (f"{unit}, median", "lowest – highest", "chosen against it"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    if found.verdict:
        console.print(f"{found.verdict.winner.candidate.title}", style="bold", markup=False)
        console.print(found.verdict.why, markup=False)
        for reason in facts["reasons"].values():
            console.print(f"· {reason}", style="dim", markup=False)
    _print_confirmation(console, objective, found)


def _print_confirmation(console: Console, objective: Objective, found: Found) -> None:
    if not found.confirmation:
        return
    level = found.confirmation.level
    word = "held" if found.confirmation.met else "did not hold"
    console.print(
        f"last run, {level.seconds:.0f} s at {level.rate:.1f} a second: p99 {level.p99:.1f} ms, "
        f"{level.failed} of {level.requests} failed: {objective.word} {word}",
        style="green" if found.confirmation.met else "red",
        markup=False,
    )
