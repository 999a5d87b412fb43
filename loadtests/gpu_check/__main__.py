"""The command line: `python -m loadtests.gpu_check`, which `make gpu-check` calls."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console

from build.errors import BuildError
from loadtests.gpu_check.check import NO_GPU, OK
from loadtests.gpu_check.findings import Status, StepResult
from loadtests.gpu_check.report import JSON_FILE, PAGE_FILE, write_results
from loadtests.gpu_check.settings import KEPT, CheckSettings, Step
from loadtests.gpu_check.supervisor import Supervisor, exit_code
from loadtests.load.errors import LoadTestError
from server.errors import SettingsError as ServerSettingsError
from server.signals import StopSignals

USAGE = 2
_HELP = f"""Exit codes: {OK} every step passed; 1 one failed, took too long or was left out; {USAGE}
wrong usage; {NO_GPU} nothing failed, but a step found no GPU."""
_COLOURS = {Status.PASSED: "green", Status.NO_GPU: "yellow"}

_err = Console(stderr=True, highlight=False, soft_wrap=True)


@click.group(invoke_without_command=True, epilog=_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, too.")
@click.pass_context
def main(context: click.Context, /, *, as_json: bool, **given: str | None) -> None:
    """Show on a machine with a GPU whether it serves these models as it should."""
    if context.invoked_subcommand is not None:
        return
    options = {name.upper(): value for name, value in given.items() if value is not None}
    try:
        settings = CheckSettings.from_environment({**os.environ, **options})
    except (LoadTestError, ServerSettingsError) as error:
        _err.print(f"error: {error}", style="bold red", markup=False)
        context.exit(USAGE)
    with StopSignals() as signals, tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        code = _run(settings, Path(work), signals)
    if as_json:
        print((settings.out / JSON_FILE).read_text(), end="")
    context.exit(code)


for _name, _field in CheckSettings.model_fields.items():
    _option = {"budget_s": "--budget"}.get(_name, f"--{_name.replace('_', '-')}")
    _default = _field.get_default()
    _shown = "empty" if _default == "" else _default
    _text = f"{_field.description}  [env var: {_name.upper()}; default: {_shown}]"
    main.params.append(click.Option([_option, _name], help=_text))


@main.command()
@click.option("--if-missing", is_flag=True, help="Only where they are not kept yet.")
@click.option("--kept", envvar="KEPT", type=click.Path(path_type=Path), default=KEPT, help="Where.")
@click.option("--inputs", type=click.IntRange(0), default=0, help="Of a model, at most. 0: all.")
@click.pass_context
def prepare(context: click.Context, /, *, if_missing: bool, kept: Path, inputs: int) -> None:
    """Keep the answers of the CPU build, where the models are built."""
    from loadtests.gpu_check import prepare as preparing

    if if_missing and preparing.is_current(kept):
        return
    try:
        preparing.prepare(kept, lambda text: _err.print(text, style="dim", markup=False), inputs)
    except (LoadTestError, BuildError) as error:
        _err.print(f"error: {error}", style="bold red", markup=False)
        context.exit(1)
    _err.print(f"kept in {kept}", style="dim", markup=False)


def _run(settings: CheckSettings, work: Path, signals: StopSignals) -> int:
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / PAGE_FILE).unlink(missing_ok=True)

    def told(results: list[StepResult]) -> None:
        write_results(settings, began, results, None)
        last = results[-1]
        colour = _COLOURS.get(last.status, "red")
        reason = f": {last.reason}" if last.reason else ""
        _err.print(f"{last.number:>3} {last.title} ", end="", markup=False)
        _err.print(last.status.value, style=colour, end="")
        _err.print(f"{reason} ({last.seconds:.1f} s)", markup=False)

    with _err.status("") as shown:  # on a terminal

        def begun(step: Step) -> None:
            shown.update(f"{step.number} {step.title}, at most {settings.limit(step):.0f} s")

        supervisor = Supervisor(settings, work, signals.stop, told, on_begin=begun)
        results = supervisor.run(settings.chosen())
    code = exit_code(results)
    write_results(settings, began, results, code)
    _err.print(f"results: {settings.out / JSON_FILE}", style="dim", markup=False)
    return code


if __name__ == "__main__":
    main(prog_name="python -m loadtests.gpu_check")
