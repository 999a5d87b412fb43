"""The command line: `python -m server` serves, `python -m server during -- COMMAND` runs one."""

import os
import subprocess
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from server.banner import print_banner
from server.console import say
from server.device import GPU
from server.errors import ServerDiedError, ServerError, StartStoppedError
from server.logs import LogFollower, lines_that_matter
from server.parent_death import stop_with_parent
from server.proxies import without_proxy_for_loopback
from server.settings import Settings
from server.signals import StopSignals
from server.triton import TritonServer

_POLL_SECONDS = 0.1
_SETTINGS = (
    "Settings are environment variables: BIND, HTTP_PORT, GRPC_PORT, METRICS_PORT (0 chooses a "
    "free port), DEVICE (cpu, gpu), CUDA_LIBRARIES, CONFIG, MODEL_REPOSITORY, TRITON_DIR, "
    "LOG_VERBOSE, LOG_FILE, START_TIMEOUT and EXIT_TIMEOUT (seconds), MODEL_CONTROL, "
    "SHARED_MEMORY, TRACE_CONTROL, LOG_CONTROL, ADMIN_TOKEN, TRACE_URL, TRACE_RATE, GUARD, "
    "QUARANTINE_DIR, ANYBODY_MAY_END_THIS_SERVER and those of the guard."
)

app = typer.Typer(add_completion=False, epilog=_SETTINGS, rich_markup_mode=None)
_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    stop_with_parent_: Annotated[
        bool,
        typer.Option("--stop-with-parent", help="Stop as well when the calling process ends."),
    ] = False,
) -> None:
    """Serve the model repository in the foreground, until SIGTERM or Ctrl-C."""
    if stop_with_parent_:
        stop_with_parent()
    if context.invoked_subcommand is None:
        raise typer.Exit(_guarded(_serve))


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=_SETTINGS,
)
def during(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="What to run.")],
) -> None:
    """Run COMMAND while a server of its own runs, on free ports where none are set.

    COMMAND finds the server by TRITON_HTTP_URL, TRITON_GRPC_URL and TRITON_METRICS_URL
    (host:port). The exit code is that of COMMAND.
    """
    raise typer.Exit(_guarded(lambda signals: _during(command, signals)))


def _guarded(action: Callable[[StopSignals], int]) -> int:
    with StopSignals() as signals:
        try:
            return action(signals)
        except StartStoppedError:
            return 0
        except ServerError as error:
            for line in error.log_lines:
                _err.print(f"triton: {line}", style="dim")
            _err.print(f"error: {error}", style="bold red")
            return 1


def _serve(signals: StopSignals) -> int:
    settings = Settings.from_environment()
    gpu = settings.device == GPU
    _err.print(f"starting Triton with the models of {settings.model_repository} ...")
    with TritonServer(settings, stop_requested=signals.stop) as server:
        log = LogFollower(server.log_path)
        guard_log = LogFollower(server.guard_log_path) if server.guard_log_path else None
        print_banner(server, _out)
        while not signals.stop():
            server.check()
            lines = log.new_lines()
            for line in lines if settings.log_verbose else lines_that_matter(lines, gpu=gpu):
                say(_err, f"triton: {line}")
            for line in guard_log.new_lines() if guard_log else ():
                say(_err, line)
            time.sleep(_POLL_SECONDS)
        say(_err, "stopping: requests under way are finished first ...")
        return _stop(server, signals)


def _during(command: list[str], signals: StopSignals) -> int:
    settings = Settings.from_environment(default_ports=False)
    with TritonServer(settings, stop_requested=signals.stop) as server:
        environment = {
            **without_proxy_for_loopback(os.environ),
            "TRITON_HTTP_URL": server.http_url,
            "TRITON_GRPC_URL": server.grpc_url,
            "TRITON_METRICS_URL": server.metrics_url,
        }
        try:
            process = subprocess.Popen(command, env=environment)
        except OSError as error:
            raise ServerError(f"cannot run {command[0]!r}: {error.strerror}") from None
        try:
            while process.poll() is None and not signals.stop():
                server.check()
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
            while process.poll() is None:
                if signals.hurry():
                    process.kill()
                time.sleep(_POLL_SECONDS)
        code = process.returncode
        stopped = _stop(server, signals)
        # As a shell says it when a command was ended by a signal.
        return (code if code >= 0 else 128 - code) or stopped


def _stop(server: TritonServer, signals: StopSignals) -> int:
    code = server.stop(hurry=signals.hurry)
    if code:
        raise ServerDiedError(
            f"Triton did not finish its requests within EXIT_TIMEOUT "
            f"({server.settings.exit_timeout} seconds) and was stopped"
            if not signals.hurry()
            else "stopped at once: requests under way were dropped"
        )
    return 0


if __name__ == "__main__":
    app(prog_name="python -m server")
