"""The command line: `python -m loadtests`, which `make loadtest` calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from build.errors import BuildError
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.options import option
from loadtests.load.reference import prepare, workload_of
from loadtests.load.run import ROOT, locust_command, run
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target
from loadtests.load.worker import FOLDER_VARIABLE, UI_FILE, write_run
from loadtests.report.aggregate import sum_up
from loadtests.report.caveats import notes
from loadtests.report.html import report_as_dict, write_report
from loadtests.report.objectives import Failures, Objectives
from loadtests.report.result import Result
from loadtests.report.terminal import print_summary, progress
from server.errors import ServerError
from server.errors import SettingsError as ServerSettingsError
from server.settings import Settings
from server.signals import StopSignals
from server.triton import TritonServer

_POLL_SECONDS = 0.5


class ExitCode(IntEnum):
    """What the exit code says to a script; where several apply, the highest is returned."""

    OK = 0
    MISSED = 1
    USAGE = 2
    NO_RESULT = 3
    WRONG_ANSWERS = 4


_HELP = """Exit codes: 0 all objectives were met; 1 one was missed; 2 wrong usage; 3 there is no
result, because no server answered, it died, or the load was stopped; 4 an answer was wrong."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command(epilog=_HELP)
def main(  # noqa: PLR0917 - typer makes options of them
    model: Annotated[str, option("MODEL", "The model that is asked.")] = "sentiment",
    protocol: Annotated[Protocol, option("PROTOCOL", "How.")] = Protocol.GRPC,
    shape: Annotated[Shape, option("SHAPE", "How the load develops.")] = Shape.STEADY,
    users: Annotated[
        int, option("USERS", "Callers; with steps the most. 0: 16, with steps 64.")
    ] = 0,
    rate: Annotated[
        float, option("RATE", "Requests, or texts in pieces, a second: rate, spike, soak.")
    ] = 50.0,
    duration: Annotated[
        int, option("DURATION", "Seconds. 0: 30, steps and spike 60, soak 600.")
    ] = 0,
    warm_up: Annotated[int, option("WARM_UP", "Seconds of load that are not measured.")] = 3,
    seed: Annotated[int, option("SEED", "Of inputs and arrivals.")] = 0,
    processes: Annotated[int, option("PROCESSES", "Processes that make load.")] = 1,
    inputs: Annotated[
        int, option("INPUTS", "Different test inputs. 0: 500, for sentiment_explain 50.")
    ] = 0,
    p99_ms: Annotated[
        float | None, option("P99_MS", "Objective: p99 in milliseconds, at most.")
    ] = None,
    min_rps: Annotated[
        float | None, option("MIN_RPS", "Objective: right answers a second, at least.")
    ] = None,
    max_fail: Annotated[
        str | None, option("MAX_FAIL", "Objective: failed requests at most, 5 or 0.5%.")
    ] = None,
    url: Annotated[
        str, option("URL", "host:port of a running Triton's HTTP service; else one is started.")
    ] = "",
    reports: Annotated[Path, typer.Option(help="Folder of reports.")] = ROOT / "reports",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON, not a summary.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui", help="Show Locust's web page instead.")] = False,
    ui_port: Annotated[int, option("UI_PORT", "Port of that page.")] = 8089,
) -> None:
    """Put a model under load, compare every answer, and report where the time went."""
    try:
        with StopSignals() as signals:
            objectives = Objectives(p99_ms, min_rps, Failures.parse(max_fail) if max_fail else None)
            settings = LoadSettings(
                model,
                protocol,
                shape,
                users,
                rate,
                duration,
                warm_up,
                seed,
                processes,
                inputs,
                objectives,
            )
            workload_of(settings)  # before a server is started in vain
            with _target(url, signals.stop) as (target, check):
                if ui:
                    code = _show_page(settings, target, ui_port, signals.stop)
                else:
                    code = _measure(
                        settings, target, reports, as_json=as_json, check=check, stop=signals.stop
                    )
    except (SettingsError, ServerSettingsError) as error:
        _fail(str(error))
        code = ExitCode.USAGE
    except (LoadTestError, ServerError, BuildError) as error:
        for line in getattr(error, "log_lines", ()):
            _err.print(f"triton: {line}", style="dim", markup=False)
        _fail(str(error))
        code = ExitCode.NO_RESULT
    raise typer.Exit(code)


def _fail(message: str) -> None:
    _err.print(f"error: {message}", style="bold red", markup=False)


@contextmanager
def _target(url: str, stop: Callable[[], bool]) -> Iterator[tuple[Target, Callable[[], None]]]:
    """The server that is put under load, and what finds out whether it died."""
    url = url or os.environ.get("TRITON_HTTP_URL", "")
    if url:
        yield Target.at(url), lambda: None
        return
    _err.print("starting Triton ...", style="dim")
    settings = Settings.from_environment(default_ports=False)
    with TritonServer(settings, stop_requested=stop) as server:
        yield Target.of(server), server.check


def _repository() -> Path:
    return Path(os.environ.get("MODEL_REPOSITORY") or ROOT / "model_repository").absolute()


def _measure(
    settings: LoadSettings,
    target: Target,
    reports: Path,
    *,
    as_json: bool,
    check: Callable[[], None],
    stop: Callable[[], bool],
) -> ExitCode:
    _err.print(f"computing the answers to {settings.inputs} inputs ...", style="dim")
    questions = prepare(settings, target, _repository())
    with progress(_err, settings) as on_poll:
        done = run(settings, target, questions, check=check, stop=stop, on_poll=on_poll)
    result = sum_up(done)
    page, _ = write_report(done, result, reports)
    if as_json:
        print(json.dumps(report_as_dict(done, result)))
    else:
        print_summary(Console(highlight=False), done, result, notes(done, result))
    _err.print(f"report: {page}", style="dim", markup=False)
    return exit_code(result)


def exit_code(result: Result) -> ExitCode:
    """What a run's exit code says."""
    if result.wrong:
        return ExitCode.WRONG_ANSWERS
    return ExitCode.OK if all(v.met for v in result.verdicts) else ExitCode.MISSED


def _show_page(
    settings: LoadSettings, target: Target, port: int, stop: Callable[[], bool]
) -> ExitCode:
    """Runs Locust with its web page on this machine, until it is stopped."""
    # On the page a person says how many users there are, and for how long.
    settings = replace(settings, shape=Shape.STEADY)
    _err.print(f"computing the answers to {settings.inputs} inputs ...", style="dim")
    questions = prepare(settings, target, _repository())
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        write_run(folder, settings, target, questions)
        (folder / UI_FILE).touch()
        command = locust_command(settings, headless=False)
        command += ["--web-host", "127.0.0.1", "--web-port", str(port)]
        command += ["--users", str(settings.users), "--spawn-rate", str(settings.users)]
        command += ["--host", f"http://{target.http}"]
        environment = {**os.environ, FOLDER_VARIABLE: name, "PYTHONPATH": str(ROOT)}
        _err.print(f"http://127.0.0.1:{port} shows Locust's page; Ctrl-C stops it", markup=False)
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            # Ctrl-C reaches Locust too; of another signal only we know.
            while process.poll() is None:
                if stop():
                    process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
    return ExitCode.OK


if __name__ == "__main__":
    app(prog_name="python -m loadtests")
