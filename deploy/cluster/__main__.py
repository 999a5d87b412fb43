"""The command line: `python -m deploy.cluster` runs a cluster, its commands change it."""

import json
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from build.errors import BuildError
from deploy.cluster.canary import front_models
from deploy.cluster.errors import ClusterError
from deploy.cluster.load_balancer import LoadBalancer
from deploy.cluster.next_version import build_next, take_next
from deploy.cluster.operations import Operator
from deploy.cluster.publishing import Comparison, Publisher
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import read_state
from deploy.cluster.supervisor import Supervisor
from server.console import say
from server.errors import ServerError
from server.parent_death import stop_with_parent
from server.readiness import is_ready
from server.signals import StopSignals

_POLL_SECONDS = 0.1
_SETTINGS = (
    "Settings are environment variables: REPLICAS, BIND, HTTP_PORT, GRPC_PORT, METRICS_PORT, "
    "RATE_LIMIT (requests a key a second), MAX_BODY_MIB, MAX_IN_FLIGHT, MAX_WAITING, STREAM_LIMIT "
    "(of a key), RETRY_BODY_KIB, REQUEST_TIMEOUT, HANG_TIMEOUT, RUN_DIR, TLS_CERTIFICATE, "
    "TRACE_URL and those of the server and its guard."
)

app = typer.Typer(add_completion=False, epilog=_SETTINGS, rich_markup_mode=None)
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@contextmanager
def _settings() -> Iterator[ClusterSettings]:
    """Gives a command its settings, and ends it with the message of what goes wrong."""
    try:
        yield ClusterSettings.from_environment()
    except (BuildError, ClusterError, ServerError) as error:
        _err.print(f"error: {error}", style="bold red")
        raise typer.Exit(1) from None


def _operator(settings: ClusterSettings) -> Operator:
    return Operator(settings.run_dir, settings.start_timeout, _err.print)


def _publisher(settings: ClusterSettings) -> Publisher:
    return Publisher(_operator(settings), settings.model_repository.absolute())


@app.callback(invoke_without_command=True)
def cluster(
    context: typer.Context,
    stop_with_parent_: Annotated[
        bool,
        typer.Option("--stop-with-parent", help="Stop as well when the calling process ends."),
    ] = False,
) -> None:
    """Run REPLICAS servers behind HAProxy in the foreground, until SIGTERM or Ctrl-C."""
    if stop_with_parent_:
        stop_with_parent()
    if context.invoked_subcommand is None:
        with _settings() as settings:
            _run(settings)


@app.command()
def roll() -> None:
    """Restart every server, one after the other, without losing a request."""
    with _settings() as settings:
        _operator(settings).roll()


@app.command()
def reload() -> None:
    """Let HAProxy read keys and certificate again, without losing a request."""
    with _settings() as settings:
        operator = _operator(settings)
        with operator.operation():
            operator.reload()


@app.command()
def status(as_json: JsonOption = False) -> None:
    """Show which servers run and which are ready; exit 1 unless all are."""
    with _settings() as settings:
        state = read_state(settings.run_dir)
    front = LoadBalancer(settings.run_dir)
    rows = [
        {**asdict(replica), "ready": is_ready(replica.http_url) and front.is_up(replica.name)}
        for replica in state.replicas
    ]
    if as_json:
        print(json.dumps({"http": state.http_url, "grpc": state.grpc_url, "servers": rows}))
    else:
        table = Table("server", "process", "starts", "HTTP", "gRPC", "metrics", "ready", box=None)
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        _out.print(table)
    if not all(row["ready"] for row in rows):
        raise typer.Exit(1)


@app.command()
def publish(
    model: Annotated[str, typer.Argument(help="The model to build and publish.")],
    canary: Annotated[
        int, typer.Option(min=0, max=99, help="Percent of the requests for it; 0 for all.")
    ] = 0,
    bert: Annotated[str, typer.Option(help="Hub name or folder of a BERT checkpoint.")] = "",
    made: Annotated[
        str, typer.Option("--from", help="Folder of a version made elsewhere; builds nothing.")
    ] = "",
) -> None:
    """Build the next version of a model and serve it once it has proved itself."""
    with _settings() as settings:
        # Before anything is built for hours.
        read_state(settings.run_dir)
        repository = settings.model_repository.absolute()
        front_models(repository, [model])
        versions = (
            take_next(repository, model, Path(made))
            if made
            else build_next(repository, model, bert)
        )
        _print(_publisher(settings).publish(versions, canary))


@app.command()
def promote() -> None:
    """Serve from all servers what the canary serves."""
    with _settings() as settings:
        _print(_publisher(settings).promote())


@app.command()
def rollback() -> None:
    """End the canary or, without one, serve again what was served before."""
    with _settings() as settings:
        served = _publisher(settings).roll_back().history[-1]
        _out.print("served: " + ", ".join(f"{name} {number}" for name, number in served.items()))


@app.command()
def canary(as_json: JsonOption = False) -> None:
    """Compare the canary with what else is served, on held-out inputs."""
    with _settings() as settings:
        _print(_publisher(settings).compare(), as_json=as_json)


def _print(comparisons: list[Comparison], *, as_json: bool = False) -> None:
    if as_json:
        rows = [
            {
                "model": each.model,
                "version": name,
                "p50_ms": trial.latency()[0],
                "p99_ms": trial.latency()[1],
                "failures": trial.failures,
                "accuracy": trial.accuracy,
                "agreement": each.new.agreement(each.old),
            }
            for each in comparisons
            for name, trial in (("old", each.old), ("new", each.new))
        ]
        print(json.dumps(rows))
        return
    table = Table("model", "", "calls", "failed", "p50", "p99", "right", "same label", box=None)
    for each in comparisons:
        for name, trial in (("old", each.old), ("new", each.new)):
            p50, p99 = trial.latency()
            table.add_row(
                each.model,
                name,
                str(len(trial.labels)),
                str(trial.failures),
                f"{p50:.1f} ms",
                f"{p99:.1f} ms",
                f"{trial.accuracy:.1%}",
                f"{trial.agreement(each.old):.1%}",
            )
    _out.print(table)


def _run(settings: ClusterSettings) -> None:
    with StopSignals() as signals, Supervisor(settings, partial(say, _err)) as supervisor:
        signal.signal(signal.SIGUSR1, supervisor.request_reload)
        _err.print(f"starting {settings.replicas} servers behind HAProxy ...")
        if not supervisor.wait_until_ready(signals.stop):
            return
        _banner(supervisor)
        while not signals.stop():
            supervisor.check()
            time.sleep(_POLL_SECONDS)
        say(_err, "stopping: requests under way are finished first ...")
        supervisor.stop(signals.hurry)


def _banner(supervisor: Supervisor) -> None:
    state, folder = supervisor.state, supervisor.settings.run_dir
    services = Table.grid(padding=(0, 2, 0, 0))
    services.add_row("HTTP", f"https://{state.http_url}")
    services.add_row("gRPC", f"{state.grpc_url} (TLS)")
    services.add_row("metrics", f"http://{state.metrics_url}/metrics")
    for replica in state.replicas:
        services.add_row(replica.name, f"http://{replica.http_url} (loopback)")
    if supervisor.settings.tls_certificate is None:
        services.add_row("certificate", str(folder / "ca.pem"))
    services.add_row("keys", f"{folder}/inference.keys, {folder}/administration.keys")
    _out.print(services)
    authority = shlex.quote(str(folder / "ca.pem"))
    trust = "" if supervisor.settings.tls_certificate else f"--cacert {authority} "
    keys = shlex.quote(str(folder / "inference.keys"))
    # soft_wrap: a line to be copied must not be broken.
    _out.print(
        f"try: curl {trust}-H \"authorization: Bearer $(awk '{{print $2; exit}}' "
        f'{keys})" https://{state.http_url}/v2/models/mnist',
        markup=False,
    )
    _out.print("Ctrl-C finishes the requests under way and stops; a second one stops at once.")


if __name__ == "__main__":
    app(prog_name="python -m deploy.cluster")
