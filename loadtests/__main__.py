"""The command line: `python -m loadtests`, which `make loadtest` calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

import click
from rich.console import Console

from build.errors import BuildError
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.requests import prepare, workload_of
from loadtests.load.run import ROOT, locust_command, run
from loadtests.load.settings import LoadSettings, Protocol, user_class_name
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up
from loadtests.report.caveats import notes
from loadtests.report.html import report_as_dict, write_report
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

_err = Console(stderr=True, highlight=False, soft_wrap=True)


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for each setting; it stands for the environment variable."""
    for name, field in reversed(LoadSettings.model_fields.items()):
        default = field.get_default()
        shown = "none" if default is None else getattr(default, "value", default)
        text = f"{field.description}  [env var: {name.upper()}; default: {shown}]"
        command = click.option(f"--{name.replace('_', '-')}", name, help=text)(command)
    return command


@click.command(epilog=_HELP)
@_settings_options
@click.option(
    "--url",
    envvar="URL",
    default="",
    show_envvar=True,
    help="host:port of a running Triton's HTTP service; else one is started.",
)
@click.option(
    "--reports",
    type=click.Path(path_type=Path),
    default=ROOT / "reports",
    help="Folder of reports.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not a summary.")
@click.option("--ui", is_flag=True, help="Show Locust's web page instead.")
@click.option(
    "--ui-port",
    type=click.IntRange(1, 65535),
    envvar="UI_PORT",
    default=8089,
    help="Port of that page.",
)
@click.pass_context
def main(
    context: click.Context,
    /,
    url: str,
    reports: Path,
    *,
    as_json: bool,
    ui: bool,
    ui_port: int,
    **given: str | None,
) -> None:
    """Put a model under load, compare every answer, and report where the time went."""
    options = {name.upper(): value for name, value in given.items() if value is not None}
    try:
        with StopSignals() as signals:
            settings = LoadSettings.from_environment({**os.environ, **options})
            workload_of(settings)  # before a server is started in vain
            in_memory = ui or settings.protocol is Protocol.GRPC_SHM
            with _target(url, settings, signals.stop, in_memory=in_memory) as (target, check):
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
    context.exit(code)


def _fail(message: str) -> None:
    _err.print(f"error: {message}", style="bold red", markup=False)


@contextmanager
def _target(
    url: str, load: LoadSettings, stop: Callable[[], bool], *, in_memory: bool
) -> Iterator[tuple[Target, Callable[[], None]]]:
    """The server that is put under load, and what finds out whether it died."""
    variable = "URL" if url else "TRITON_HTTP_URL"
    url = url or os.environ.get(variable, "")
    if url:
        target = Target.at(url, variable)
        target.check(Protocol.HTTP)  # which is asked for the config, whatever is sent
        target.check(load.protocol)
        yield target, lambda: None
        return
    _err.print("starting Triton ...", style="dim")
    settings = Settings.from_environment(
        default_ports=False, shared_memory="on" if in_memory else "off"
    )
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
    requests = prepare(settings, target, _repository())
    with progress(_err, settings) as on_poll:
        done = run(settings, target, requests, check=check, stop=stop, on_poll=on_poll)
    result = sum_up(done)
    page, _ = write_report(done, result, reports)
    if as_json:
        print(json.dumps(report_as_dict(done, result)))
    else:
        print_summary(Console(highlight=False), done, result, notes(done, result))
    _err.print(f"report: {page}", style="dim", markup=False)
    if result.wrong:
        return ExitCode.WRONG_ANSWERS
    return ExitCode.OK if all(v.met for v in result.verdicts) else ExitCode.MISSED


def _show_page(
    settings: LoadSettings, target: Target, port: int, stop: Callable[[], bool]
) -> ExitCode:
    """Runs Locust with its web page on this machine, until it is stopped."""
    command = [*locust_command(settings), user_class_name(settings.model, settings.protocol)]
    command += ["--web-host", "127.0.0.1", "--web-port", str(port), "--host", target.http]
    command += ["--users", str(settings.users), "--spawn-rate", str(settings.users)]
    command += ["--seed", str(settings.seed), "--inputs", str(settings.inputs)]
    addresses = {"TRITON_GRPC_URL": target.grpc, "TRITON_METRICS_URL": target.metrics}
    environment = {**os.environ, **addresses, "MODEL_REPOSITORY": str(_repository())}
    _err.print(f"http://127.0.0.1:{port} shows Locust's page; Ctrl-C stops it", markup=False)
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        # Ctrl-C reaches Locust too; of another signal only we know.
        while process.poll() is None:
            if stop():
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)
    # Of Locust's codes 1 stands for requests that failed, which the page has shown.
    is_usable = process.returncode not in (ExitCode.USAGE, ExitCode.NO_RESULT)
    return ExitCode.OK if is_usable else ExitCode.NO_RESULT


if __name__ == "__main__":
    main(prog_name="python -m loadtests")
