"""The terminal: progress while a load runs, and the summary after it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from loadtests.load.run import Run
from loadtests.load.settings import LoadSettings, Shape
from loadtests.report.metrics import PARTS, counted_between, mean_batch
from loadtests.report.result import Result


def print_error(console: Console, error: Exception) -> None:
    """Prints why something failed, after the last lines of the server's log where it has any."""
    for line in getattr(error, "log_lines", ()):
        console.print(f"triton: {line}", style="dim", markup=False)
    console.print(f"error: {error}", style="bold red", markup=False)


@contextmanager
def progress(console: Console, settings: LoadSettings) -> Iterator[Callable[[Run], None]]:
    """Shows how far the load is, and what the server does; only on a terminal."""
    total = settings.warm_up + settings.duration
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total} s · {task.fields[seen]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(
            f"{settings.model} {settings.shape.value}", total=total, seen="starting"
        )
        began = 0.0

        def show(run: Run) -> None:
            nonlocal began
            if len(run.scrapes) < 3:
                return
            before, after = run.scrapes[-3], run.scrapes[-1]
            model, network = settings.model, run.parts[-1]
            answered = after.counters[model]["requests"] - before.counters[model]["requests"]
            began = began or (time.time() if answered else 0.0)
            if not began:
                return
            seconds = after.time - before.time
            batch = mean_batch(counted_between(run.scrapes, network, before.time, after.time))
            seen = f"{answered / seconds:.0f} answers a second, batch {batch:.1f}"
            bar.update(task, completed=min(time.time() - began, total), seen=seen)

        yield show


def print_summary(console: Console, run: Run, result: Result, notes: list[str]) -> None:
    """Prints the figures of a run, its limits last."""
    console.print(_figures(run, result))
    if run.settings.shape is Shape.STEPS:
        console.print(_steps(result))
    if result.parts:
        console.print(_parts(result))
    for verdict in result.verdicts:
        word = "[green]met[/]" if verdict.met else "[red]missed[/]"
        console.print(f"{verdict.name}: {verdict.wanted}, measured {verdict.measured}: {word}")
    for message, count in list(run.messages.items())[:5]:
        console.print(f"{count} × {message}", style="red", markup=False)
    for note in notes:
        console.print(f"· {note}", style="dim", markup=False)


def _figures(run: Run, result: Result) -> Table:
    low, _, high = result.goodput_spread
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row(
        "right answers", f"{result.goodput:.1f} a second (intervals {low:.0f} – {high:.0f})"
    )
    latencies = "  ".join(f"{name} {_shown(value)}" for name, value in result.quantiles.items())
    table.add_row("latency, ms", latencies)
    table.add_row("failed", f"{result.failed} of {result.requests}, {result.wrong} wrong answers")
    split = "  ".join(f"{part} {_shown(getattr(result.split, part), 2)}" for part in PARTS)
    table.add_row("split, ms", split)
    table.add_row(
        "mean batch", "  ".join(f"{m} {_shown(size, 2)}" for m, size in result.batch.items())
    )
    used = result.processors
    server = f"{used.server:.2f}" if run.target.pid is not None else "not measured"
    table.add_row(
        "processors", f"server {server}  client {used.client:.2f}  others {used.others:.2f}"
    )
    energy = "  ".join(f"{name} {joules:.3f} J" for name, joules in result.energy.items())
    table.add_row("energy, an inference", energy or "not measured")
    return table


def _steps(result: Result) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("users", "right a second", "p99 ms", ""):
        table.add_column(heading, justify="right")
    for level in result.levels:
        mark = "knee" if level == result.knee else ""
        table.add_row(str(level.users), f"{level.goodput:.1f}", _shown(level.p99), mark)
    return table


def _parts(result: Result) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    for heading in ("due a second", "right a second", "failed", "p50 ms", "p99 ms", "memory MiB"):
        table.add_column(heading, justify="right")
    for part in result.parts:
        table.add_row(
            part.name,
            f"{part.offered:.1f}",
            f"{part.goodput:.1f}",
            str(part.failed),
            _shown(part.quantiles["p50"]),
            _shown(part.quantiles["p99"]),
            f"{part.server_bytes / 2**20:.0f}" if part.server_bytes else "–",
        )
    return table


def _shown(value: float, digits: int = 1) -> str:
    """A figure, or a dash where nothing was measured."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
