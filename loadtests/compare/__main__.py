"""The command line: `python -m loadtests.compare`, which `make bench` calls."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from build.errors import BuildError
from loadtests.compare.catalogue import CATALOGUE, measure
from loadtests.compare.measure import Bench, BenchSettings, Case
from loadtests.compare.packing import CACHE
from loadtests.compare.page import print_comparison, render
from loadtests.compare.peer_servers import TRITON
from loadtests.compare.repository import BERT, CNN, FILES, RNN
from loadtests.compare.results import Figure, Measurement, Results, file_of, number, read, write
from loadtests.compare.served import counted
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.run import ROOT
from loadtests.load.settings import option
from loadtests.report.machine import machine
from loadtests.report.result import to_plain
from loadtests.report.terminal import print_error
from server.errors import ServerError
from server.installation import find_installation
from server.signals import StopSignals

RESULTS = "benchmarks.json"
_FREE_BYTES = 2**30
"""What exported graphs, logs and results may need."""
_HELP = """Exit codes: 0 everything was measured and every answer was right; 1 some were not;
2 wrong usage; 3 there is no result for a comparison; those that ended before are shown and kept."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_DEFAULTS = BenchSettings()


@app.command(epilog=_HELP)
def main(  # noqa: PLR0917 - typer makes options of them
    rounds: Annotated[int, option("ROUNDS", "How often each variant is measured.")] = (
        _DEFAULTS.rounds
    ),
    measure_s: Annotated[int, option("MEASURE_S", "Seconds of one measurement.")] = (
        _DEFAULTS.measure_s
    ),
    warm_up: Annotated[int, option("WARM_UP", "Seconds of load before each.")] = _DEFAULTS.warm_up,
    seed: Annotated[int, option("SEED", "Of the inputs and their order.")] = _DEFAULTS.seed,
    inputs: Annotated[int, option("INPUTS", "Different test inputs.")] = _DEFAULTS.inputs,
    only: Annotated[
        str, option("ONLY", f"Measure some comparisons, by commas: {', '.join(CATALOGUE)}.")
    ] = "",
    reports: Annotated[
        Path, typer.Option(help="Folder of reports, with the results of each machine.")
    ] = ROOT / "reports",
    out: Annotated[Path, typer.Option(help="Folder of the published page.")] = ROOT / "docs",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what was measured as JSON, not as tables.")
    ] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Measure nothing; publish this machine's results.")
    ] = False,
    render_only: Annotated[
        bool, typer.Option("--render", help="Measure nothing; write the published page again.")
    ] = False,
) -> None:
    """Measure what the documentation claims, and keep the results of this machine."""
    measured: Results = {}
    code = 0
    try:
        settings = BenchSettings(
            rounds=rounds, measure_s=measure_s, warm_up=warm_up, seed=seed, inputs=inputs
        )
        names = _names(only)
        file = file_of(machine(), reports)
        if render_only:
            render(read(out / RESULTS), out)
        elif publish:
            _publish(file, out)
        else:
            with StopSignals() as signals:
                _measure(names, Bench(settings, signals.stop), file, measured)
    except SettingsError as error:
        print_error(_err, error)
        code = 2
    except (LoadTestError, ServerError, BuildError) as error:
        print_error(_err, error)
        code = 3
    finally:
        if measured:
            _show(measured, file, as_json=as_json)
    raise typer.Exit(code or (0 if _all_right(measured) else 1))


def _names(only: str) -> tuple[str, ...]:
    names = [name.strip() for name in only.split(",")] if only else list(CATALOGUE)
    for name in names:
        if name not in CATALOGUE:
            raise SettingsError(f"ONLY is {name!r}: it has to be one of {', '.join(CATALOGUE)}")
    return tuple(dict.fromkeys(names))


def _publish(file: Path, out: Path) -> None:
    """Writes the page from this machine's results, and from no other's."""
    results, published = read(file), read(out / RESULTS)
    if not results:
        raise LoadTestError(f"{file} is missing: measure first, with make bench")
    if all(comparison.machine == machine() for comparison in published.values()):
        results = {**published, **results}
    results = {name: results[name] for name in CATALOGUE if name in results}
    write(out / RESULTS, results)
    render(results, out)
    missing = ", ".join(name for name in CATALOGUE if name not in results)
    _err.print(f"published {len(results)} comparisons in {out}", markup=False)
    if missing:
        _err.print(f"not measured on this machine: {missing}", markup=False)


def _prepare(names: tuple[str, ...], file: Path) -> Results:
    """Refuses what can be refused before anything is measured; returns this machine's results."""
    kept = read(file)
    for folder in (file.parent, CACHE):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise LoadTestError(f"{folder} cannot be written: {error.strerror}") from None
        if (free := shutil.disk_usage(folder).free) < _FREE_BYTES:
            raise LoadTestError(
                f"{folder} has {free / 2**30:.1f} GiB left: {_FREE_BYTES / 2**30:.0f} is needed"
            )
    for model in (CNN, RNN, *(BERT / name for name in FILES.values())):
        if not model.is_file():
            raise LoadTestError(f"{model.relative_to(ROOT)} is missing: make build makes it")
    find_installation(None)
    for prepare in dict.fromkeys(CATALOGUE[name].prepare for name in names):
        prepare()
    return kept


def _measure(names: tuple[str, ...], bench: Bench, file: Path, measured: Results) -> None:
    """Measures; what is finished is written at once, so that no failure loses it."""
    estimate = sum(CATALOGUE[name].estimate(bench.settings) for name in names)
    _err.print(
        f"{len(names)} of {len(CATALOGUE)} comparisons, {counted(bench.settings.rounds, 'round')} "
        f"of {bench.settings.measure_s} s: about {max(1, round(estimate / 60))} min",
        markup=False,
    )
    with _err.status("preparing what is compared"):
        kept = _prepare(names, file)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_err) as progress:
        whole = progress.add_task("comparisons", total=len(names))
        for name in names:
            main = CATALOGUE[name].figures[0]

            def tell(
                case: Case, turn: int, found: Measurement, name: str = name, main: Figure = main
            ) -> None:
                where = f"{name}, round {turn + 1}: {case.group}: {case.name}"
                value = number(found.figures[main.name])
                progress.console.print(f"{where}: {value} {main.heading}", markup=False)

            progress.update(whole, description=name)
            measured[name] = measure(name, bench, tell)
            kept = {**kept, name: measured[name]}
            write(file, {known: kept[known] for known in CATALOGUE if known in kept})
            progress.advance(whole)


def _show(measured: Results, file: Path, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({name: to_plain(each.plain()) for name, each in measured.items()}))
    else:
        console = Console(highlight=False)
        for name, comparison in measured.items():
            print_comparison(console, name, comparison)
    _err.print(f"kept in {file}; make bench-publish writes the page from it", markup=False)


def _all_right(measured: Results) -> bool:
    """Whether each answer of this repository's models was right; a peer's are its own affair."""
    return not any(
        variant.total("failed") or variant.total("wrong")
        for name, comparison in measured.items()
        for variant in comparison.variants
        if name != "peers" or variant.name.startswith(TRITON)
    )


if __name__ == "__main__":
    app(prog_name="python -m loadtests.compare")
