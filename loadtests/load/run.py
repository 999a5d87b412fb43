"""Makes one load and watches what it does to the server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from loadtests.load.errors import LoadTestError
from loadtests.load.request_log import RequestLog
from loadtests.load.requests import Requests
from loadtests.load.settings import LoadSettings
from loadtests.load.target import Target
from loadtests.load.worker import LOG_FILE, OUTCOME_FILE, Job
from loadtests.report.machine import EnergyMeters, ProcessTree, Used, machine_seconds
from loadtests.report.metrics import Scrape, read_counters
from server.parent_death import in_child

ROOT = Path(__file__).resolve().parents[2]
_LOCUSTFILE = ROOT / "loadtests" / "locustfile.py"
POLL_SECONDS = 0.5


@dataclass
class Run:
    """What one load was and what was seen of it, not yet summed up.

    Times are in seconds since 1970.

    Attributes:
        parts: The models that the model is made of; only itself where it is no ensemble.
        config: The config of the model and of its parts, as the server has it.
        began: When the load began; the warm-up comes first.
        ended: When the last request was sent.
        stages: When each number of users began, without the warm-up.
        messages: How often each failure occurred.
        used: Processor time over time.
        joules: Joules so far over time, by source; without any where nothing can be measured.
    """

    settings: LoadSettings
    target: Target
    parts: list[str]
    config: dict[str, str] = field(default_factory=dict)
    triton: str = ""  # the server's version
    log: RequestLog = field(default_factory=lambda: np.empty(0))
    began: float = 0.0
    ended: float = 0.0
    stages: list[tuple[float, int]] = field(default_factory=list)
    messages: dict[str, int] = field(default_factory=dict)
    scrapes: list[Scrape] = field(default_factory=list)
    used: list[Used] = field(default_factory=list)
    joules: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)


def run(
    settings: LoadSettings,
    target: Target,
    requests: Requests,
    *,
    check: Callable[[], None] = lambda: None,
    stop: Callable[[], bool] = lambda: False,
    on_poll: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Makes a load, without a screen.

    Now and then it calls `check`, which raises where the server has died, asks `stop`, which ends
    the load without a result, and calls `on_poll` after a look at the server.

    Raises:
        LoadTestError: No load came about, or it was stopped.
    """
    watched = _watched(settings, target)
    with tempfile.TemporaryDirectory(prefix="loadtest-") as name:
        folder = Path(name)
        job = Job(settings, target.address(settings.protocol), folder)
        command = [*locust_command(settings), "--headless", "--only-summary"]
        command += ["--loglevel", "WARNING"]
        with _locust(folder, command, job.write(requests)) as process:
            watcher = _Watcher(watched, process.pid)
            while process.poll() is None:
                if stop():
                    raise LoadTestError("stopped before the end: there is no result")
                check()
                watcher.look()
                on_poll(watched)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
            watcher.look()
        _read_outcome(watched, folder)
    return watched


def _watched(settings: LoadSettings, target: Target) -> Run:
    if not target.is_triton:
        return Run(settings, target, [settings.model])
    parts = target.parts(settings.model)
    # Asked before the load, after which the server may be gone.
    config = {name: target.config_text(name) for name in dict.fromkeys([settings.model, *parts])}
    return Run(settings, target, parts, config, target.server_version())


def locust_command(settings: LoadSettings) -> list[str]:
    """Locust's command line, with its processes."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(_LOCUSTFILE)]
    if settings.processes > 1:
        command += ["--processes", str(settings.processes), "--master-bind-host", "127.0.0.1"]
        command += ["--master-host", "127.0.0.1", *_master_port()]
    return command


def _master_port() -> list[str]:
    """A free port, so that two load tests on a machine do not mix up their processes."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return ["--master-bind-port", port, "--master-port", port]


@contextlib.contextmanager
def _locust(
    folder: Path, command: list[str], variables: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "locust.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        )
    try:
        yield process
    finally:
        # Also those that Locust forked.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Watcher:
    def __init__(self, run: Run, generator: int) -> None:
        target = run.target
        servers = [pid for pid in (target.pid, target.front_pid) if pid is not None]
        self._run = run
        self._server = None if target.pid is None else ProcessTree(servers)
        self._client = ProcessTree([os.getpid(), generator], without=servers)
        self._meters = EnergyMeters()

    def look(self) -> None:
        """Reads all counters once."""
        if self._run.target.is_triton:
            self._scrape()
        server = self._server.read() if self._server else None
        memory = self._server.memory if self._server else 0
        used = Used(time.time(), server, self._client.read(), machine_seconds(), memory)
        self._run.used.append(used)
        if self._meters.sources:
            self._run.joules.append((time.time(), self._meters.read()))

    def _scrape(self) -> None:
        models = [self._run.settings.model, *self._run.parts]
        # A server that does not even answer this is seen in the log; ValueError: it is no metrics.
        with contextlib.suppress(LoadTestError, ValueError):
            text = self._run.target.scrape()
            self._run.scrapes.append(Scrape(time.time(), read_counters(text, models)))


def _read_outcome(run: Run, folder: Path) -> None:
    log = (folder / "locust.log").read_text(errors="replace").strip().splitlines()
    outcome_file = folder / OUTCOME_FILE
    if not outcome_file.is_file():
        raise LoadTestError(f"Locust made no load: {log[-1] if log else 'it said nothing'}")
    outcome = json.loads(outcome_file.read_text())
    run.log = np.load(folder / LOG_FILE, allow_pickle=False)
    run.began, run.ended = outcome["began"], outcome["ended"]
    if not len(run.log) or not outcome["stages"]:
        raise LoadTestError("no request was sent: the processes of Locust did not begin")
    run.stages = [(at, users) for at, users in outcome["stages"]]
    run.messages = outcome["messages"]
