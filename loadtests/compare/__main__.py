"""The command line: `python -m loadtests.compare`, which `make bench` calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from build.errors import BuildError
from loadtests.compare.against import TRITON
from loadtests.compare.catalogue import CATALOGUE, OF_BENCH, PEERS
from loadtests.compare.inputs import Inputs
from loadtests.compare.measure import Case, Stop
from loadtests.compare.page import render
from loadtests.compare.results import Comparison, Measured, Results, add, read, write
from loadtests.compare.runner import measure
from loadtests.compare.settings import BenchSettings
from loadtests.compare.terminal import print_comparison
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.run import ROOT
from loadtests.load.settings import option
from loadtests.report.result import to_plain
from server.errors import ServerError
from server.signals import StopSignals

RESULTS = "benchmarks.json"
_HELP = """Exit codes: 0 everything was measured and every answer was right; 1 some were not;
2 wrong usage; 3 there is no result for a comparison; those that ended before are kept."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command(epilog=_HELP)
def main(  # noqa: PLR0917 - typer makes options of them
    rounds: Annotated[int, option("ROUNDS", "How often each variant is measured.")] = 3,
    seconds: Annotated[int, option("SECONDS", "Of one measurement.")] = 5,
    warm_up: Annotated[int, option("WARM_UP", "Seconds of load before each.")] = 2,
    seed: Annotated[int, option("SEED", "Of the inputs and their order.")] = 0,
    inputs: Annotated[int, option("INPUTS", "Different test inputs.")] = 500,
    only: Annotated[str, option("ONLY", f"Measure one comparison: {', '.join(CATALOGUE)}.")] = "",
    out: Annotated[Path, typer.Option(help="Where results and page are written.")] = ROOT / "docs",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was measured as JSON, not as tables.")
    ] = False,
    render_only: Annotated[
        bool, typer.Option("--render", help="Measure nothing; write the page from the results.")
    ] = False,
) -> None:
    """Measure what the documentation claims, and write docs/benchmarks.md from it."""
    try:
        settings = BenchSettings(rounds, seconds, warm_up, seed, inputs)
        names = _names(only)
        results = read(out / RESULTS)
        if render_only:
            render(results, out)
            return
        with StopSignals() as signals:
            measured = _measure(names, settings, results, out, signals.stop)
    except SettingsError as error:
        _fail(error)
        raise typer.Exit(2) from None
    except (LoadTestError, ServerError, BuildError) as error:
        _fail(error)
        raise typer.Exit(3) from None
    _show(measured, as_json=as_json)
    raise typer.Exit(0 if _all_right(measured) else 1)


def _fail(error: Exception) -> None:
    for line in getattr(error, "log_lines", ()):
        _err.print(f"triton: {line}", style="dim", markup=False)
    _err.print(f"error: {error}", style="bold red", markup=False)


def _names(only: str) -> tuple[str, ...]:
    if only and only not in CATALOGUE:
        raise SettingsError(f"ONLY is {only!r}: it has to be one of {', '.join(CATALOGUE)}")
    return (only,) if only else OF_BENCH


def _measure(
    names: tuple[str, ...], settings: BenchSettings, results: Results, out: Path, stop: Stop
) -> Results:
    """Measures; what is finished is written at once, so that no failure loses it."""
    drawn = Inputs(settings)
    measured: dict[str, Comparison] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_err) as progress:
        whole = progress.add_task("comparisons", total=len(names))

        def tell(name: str, case: Case, number: int, found: Measured) -> None:
            where = f"{name}, round {number + 1}: {case.group}: {case.name}"
            progress.console.print(f"{where}: {found.rate:.0f} a second", markup=False)

        for name in names:
            progress.update(whole, description=name)
            measured[name] = measure(name, settings, drawn, stop, tell)
            results = add(results, name, measured[name], list(CATALOGUE))
            write(out / RESULTS, results)
            render(results, out)
            progress.advance(whole)
    return measured


def _show(measured: Results, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: to_plain(asdict(each)) for name, each in measured.items()}))
        return
    console = Console(highlight=False)
    for name, comparison in measured.items():
        print_comparison(console, CATALOGUE[name].title, comparison)


def _all_right(measured: Results) -> bool:
    """Whether each answer of this repository's models was right; a peer's are its own affair."""
    return not any(
        variant.total("failed") or variant.total("wrong")
        for name, comparison in measured.items()
        for variant in comparison.variants
        if name != PEERS or variant.name.startswith(TRITON)
    )


if __name__ == "__main__":
    app(prog_name="python -m loadtests.compare")
