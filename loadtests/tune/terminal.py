"""What a person sees while a search runs, and the table after it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests.tune.report import Report
from loadtests.tune.results import RateLevel, Score, Trial
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Candidate
from loadtests.tune.tuner import Listener


class Screen(Listener):
    """Shows what is being tried, the best so far, and how much time is left.

    On a terminal the last line shows progress; elsewhere each candidate gets a line.

    Args:
        console: Where it is shown.
        settings: Of the search.

    Attributes:
        progress: Shows that line inside a `with` block.
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
