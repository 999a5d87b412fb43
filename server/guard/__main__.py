"""Runs the guard: `python -m server.guard`, in the foreground, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from server.errors import ServerError
from server.guard.admission import Admission
from server.guard.allocator import return_memory
from server.guard.descriptions import Descriptions
from server.guard.grpc.server import serve_grpc
from server.guard.http import upstream as http_upstream
from server.guard.http.head import MAX_HEAD
from server.guard.http.server import HttpServer
from server.guard.metrics import Metrics, MetricsService
from server.guard.process_watch import ProcessWatch
from server.guard.quarantine import Quarantine
from server.guard.settings import GuardSettings, address_of
from server.signals import FOR_EVERYBODY, SOFT_STOP

_log = logging.getLogger(__name__)


async def serve(settings: GuardSettings, quarantine_dir: Path) -> int:
    """Serves until a signal comes.

    Returns:
        The exit code: 0 where every request was finished.

    Raises:
        OSError: A port is taken.
    """
    stop = asyncio.Event()
    for number in (*FOR_EVERYBODY, SOFT_STOP):
        # Its parent has it ignore what is meant for the parent.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    http = address_of(settings.upstream_http)
    admission = Admission(settings.batches_ahead, settings.max_queue)
    metrics = Metrics(admission)
    descriptions = Descriptions(
        lambda path: http_upstream.get(http, path), settings.model_repository
    )
    quarantine = Quarantine(quarantine_dir, settings.quarantine_seconds)
    watch = ProcessWatch(settings.upstream_pid, quarantine.suspect_all, quarantine.upstream_ended)
    watch.start()
    server = HttpServer(settings, descriptions, admission, quarantine, metrics)
    http_port = await server.start()
    grpc = await serve_grpc(settings, descriptions, admission, quarantine, metrics)
    shown = await asyncio.start_server(
        MetricsService(metrics, address_of(settings.upstream_metrics)).answer,
        settings.bind,
        settings.metrics_port,
        limit=MAX_HEAD,
    )
    metrics_port = shown.sockets[0].getsockname()[1]
    print(
        f"guard: HTTP {settings.bind}:{http_port}, gRPC {settings.bind}:{grpc.port}, "
        f"metrics {settings.bind}:{metrics_port}",
        flush=True,
    )
    returning = asyncio.create_task(return_memory())
    # What is there stays; without this the collector looks at it again and again.
    gc.collect()
    gc.freeze()
    await stop.wait()
    finished = all(
        await asyncio.gather(server.stop(settings.exit_timeout), grpc.stop(settings.exit_timeout))
    )
    shown.close()
    returning.cancel()
    watch.stop()
    quarantine.close()
    return 0 if finished else 1


def main() -> int:
    """Runs the guard with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format="guard: %(message)s")
    try:
        settings = GuardSettings.from_environment()
        _allow_connections()
        with contextlib.ExitStack() as stack:
            folder = settings.quarantine_dir or Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="guard-"))
            )
            return uvloop.run(serve(settings, folder))
    except (OSError, ServerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _allow_connections() -> None:
    """Raises the limit of open files as far as this process may: each caller takes two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main())
