"""The command line: `python -m loadtests.fuzz`, which `make fuzz` calls."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from build.errors import BuildError
from loadtests.fuzz.attack_table import as_markdown, compare
from loadtests.fuzz.attacks import attacks
from loadtests.fuzz.campaign import Campaign
from loadtests.fuzz.culprit import find_culprit, make_smaller
from loadtests.fuzz.findings import Findings
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.neighbour import Neighbours, prepare_neighbours
from loadtests.fuzz.peak import reach_peak
from loadtests.fuzz.recorded import record
from loadtests.fuzz.settings import FuzzSettings
from loadtests.fuzz.summary import Summary
from loadtests.load.errors import LoadTestError
from loadtests.report.terminal import print_error
from server.errors import ServerError
from server.signals import StopSignals

_MAX_DEATHS = 20


class ExitCode(IntEnum):
    """What the exit code says to a script."""

    PASSED = 0
    ERROR = 1
    FOUND = 2
    INTERRUPTED = 130


_HELP = """Settings are environment variables: REQUESTS, SEED, FIRST (the number of the first
case), ONLY (kinds), BUDGET_S, WORKERS, MODEL_REPOSITORY, CORPUS (where findings go). Exit codes: 0
nothing was found; 1 an error; 2 something was found; 130 stopped."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True, epilog=_HELP)
def main(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Leave the guard out, to see why.")] = False,
) -> None:
    """Send mutated requests at a guarded server, with neighbours whose answers have to be right."""
    if context.invoked_subcommand is not None:
        return
    code = ExitCode.ERROR
    try:
        settings = FuzzSettings.from_environment()
        with StopSignals() as signals:
            summary = fuzz(settings, signals, bare=bare)
            if as_json:
                print(json.dumps(summary.as_dict()))
            else:
                summary.show(Console(highlight=False))
            stopped = signals.stop()
        code = ExitCode.FOUND if summary.findings.found else ExitCode.PASSED
        code = ExitCode.INTERRUPTED if stopped and code is ExitCode.PASSED else code
    except (LoadTestError, ServerError, BuildError) as error:
        print_error(_err, error)
    raise typer.Exit(code)


@app.command(name="attacks", epilog=_HELP)
def compare_attacks(
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Send known attacks to a guarded server and to a bare one, and print both answers."""
    try:
        settings = FuzzSettings.from_environment()
        recorded = record(settings.model_repository, seed=settings.seed)
        rows = compare(settings.model_repository, recorded, attacks(recorded))
    except (LoadTestError, ServerError, BuildError) as error:
        print_error(_err, error)
        raise typer.Exit(ExitCode.ERROR) from None
    print(json.dumps([row.as_dict() for row in rows]) if as_json else as_markdown(rows))


def fuzz(settings: FuzzSettings, signals: StopSignals, *, bare: bool = False) -> Summary:
    """Runs one series, starting the server again where one ended.

    Raises:
        LoadTestError: The guard does not start, or there are no expected answers.
        ServerError: Triton does not start.
    """

    def start() -> GuardedServer:
        return GuardedServer(settings.model_repository, bare=bare)

    summary = Summary(Findings(settings.corpus))
    _err.print(f"{settings.command()}: drawing real requests ...", markup=False)
    recorded = record(settings.model_repository, seed=settings.seed)
    prepared = None
    with _bar() as progress:
        bar = progress.add_task("requests", total=settings.requests)
        campaign = Campaign(
            settings,
            recorded,
            summary,
            progress=lambda sent: progress.update(bar, completed=sent),
            stop=signals.stop,
        )
        while not campaign.is_over and summary.deaths < _MAX_DEATHS:
            with start() as server:
                prepared = prepared or prepare_neighbours(
                    server, settings.model_repository, settings.seed
                )
                reach_peak(server, settings.model_repository)
                neighbours = Neighbours(prepared, summary.findings.note)
                suspects = uvloop.run(campaign.run(server, neighbours))
                if not suspects:
                    uvloop.run(make_smaller(server, recorded, summary.findings))
            if suspects:
                _err.print(f"{campaign.ended} ended: looking for what ended it ...", markup=False)
                number, case = find_culprit(start, recorded, suspects) or (-1, None)
                summary.findings.add(f"{campaign.ended} ended", number, case)
    if problem := summary.memory.problem():
        summary.findings.add(problem)
    return summary


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=_err,
        transient=True,
        disable=not _err.is_terminal,
    )


if __name__ == "__main__":
    app(prog_name="python -m loadtests.fuzz")
