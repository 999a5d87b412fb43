"""Keeps the servers and the front door running until it is told to stop."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.cluster.certificates import ensure_certificate
from deploy.cluster.errors import ClusterError
from deploy.cluster.keys import ensure_keys
from deploy.cluster.load_balancer import (
    Front,
    FrontPorts,
    Place,
    front_socket,
    haproxy_program,
    render_config,
    write_config,
)
from deploy.cluster.managed_process import Child
from deploy.cluster.releases import lay_out_replica, read_releases
from deploy.cluster.secure_files import make_private_folder
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import FILENAME, ClusterState, ReplicaState
from server.ports import Ports, settle_ports
from server.processes import kill_group, process_table
from server.readiness import is_live, is_ready
from server.settings import Settings

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10
_HANG_LOOK_SECONDS = 1.0


class Supervisor:
    """A running cluster, for the length of a `with` block.

    Call `look` again and again: it is what starts again whatever has ended.
    """

    def __init__(self, settings: ClusterSettings, say: Callable[[str], None]) -> None:
        """Prepares a cluster.

        Args:
            settings: how to run it.
            say: is told, in a line, what happens.
        """
        self.settings = settings
        self._say = say
        self._run_dir = settings.run_dir.absolute()
        self._repository = settings.model_repository.absolute()
        self._token = secrets.token_urlsafe(32)
        self._lock = FileLock(self._run_dir / "cluster.lock")
        self._front: Child | None = None
        self._servers: dict[str, tuple[Child, Ports]] = {}
        self._front_ports = FrontPorts(0, 0, 0)
        self._front_loads = 0
        self._reload_asked = False
        self._next_hang_look = 0.0
        self._written: ClusterState | None = None

    def __enter__(self) -> Supervisor:
        make_private_folder(self._run_dir)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ClusterError(
                f"a cluster runs in {self._run_dir} already: stop it or set another RUN_DIR"
            ) from None
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def state(self) -> ClusterState:
        """What runs where."""
        bind = self.settings.bind
        host = "127.0.0.1" if bind == "0.0.0.0" else bind  # noqa: S104
        return ClusterState(
            pid=os.getpid(),
            front_pid=self._front.pid if self._front else 0,
            front_loads=self._front_loads,
            http_url=f"{host}:{self._front_ports.http}",
            grpc_url=f"{host}:{self._front_ports.grpc}",
            metrics_url=f"127.0.0.1:{self._front_ports.metrics}",
            admin_token=self._token,
            replicas=tuple(
                ReplicaState(name, child.pid, child.starts, ports.http, ports.grpc, ports.metrics)
                for name, (child, ports) in self._servers.items()
            ),
        )

    def ask_reload(self, *_: object) -> None:
        """Lets the next `look` have the front door read keys, certificate and weights again."""
        self._reload_asked = True

    def look(self) -> None:
        """Starts again what has ended, and writes down what runs."""
        if self._reload_asked and self._front:
            self._reload_asked = False
            try:
                self._write_config()
                # The old process answers what it has accepted; a new one takes what comes.
                self._front.signal(signal.SIGUSR2)
                self._say("the front door reads its configuration again")
            except ClusterError as error:
                self._say(f"the front door stays as it is: {error}")
        for child in [self._front, *(child for child, _ in self._servers.values())]:
            happened = child.keep_running() if child else None
            if happened:
                self._say(happened)
        if time.monotonic() > self._next_hang_look:
            self._next_hang_look = time.monotonic() + _HANG_LOOK_SECONDS
            self._end_hanging()
        if self.state != self._written:
            self._written = self.state
            self._written.write(self._run_dir)

    def wait_until_ready(self, stop_requested: Callable[[], bool]) -> bool:
        """Waits until every server is ready.

        Args:
            stop_requested: asked again and again.

        Returns:
            Whether they are; False when a stop was asked for.

        Raises:
            ClusterError: they are not within START_TIMEOUT.
        """
        deadline = time.monotonic() + self.settings.start_timeout
        while not all(is_ready(replica.http_url) for replica in self.state.replicas):
            if stop_requested():
                return False
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"not all servers were ready within {self.settings.start_timeout} seconds: "
                    f"see {self._run_dir / 'logs'}, or set a longer START_TIMEOUT"
                )
            self.look()
            time.sleep(_POLL_SECONDS)
        return True

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Lets requests under way finish, then ends the front door and the servers.

        Args:
            hurry: asked again and again; when true, all is ended at once.
        """
        if self._front:
            # Takes no new connection and ends after the last answer.
            self._end([self._front], signal.SIGUSR1, hurry)
        self._end([child for child, _ in self._servers.values()], signal.SIGTERM, hurry)
        self._front, self._servers = None, {}
        (self._run_dir / FILENAME).unlink(missing_ok=True)
        self._lock.release()

    def _end_hanging(self) -> None:
        """Ends servers that were in service since their start and do not answer any more."""
        front = Front(self._run_dir)
        for replica in self.state.replicas:
            child, _ = self._servers[replica.name]
            try:
                down = front.down_seconds(replica.name)
            except ClusterError:
                return  # HAProxy itself is starting.
            hangs = self.settings.hang_timeout < down < child.running_seconds()
            # One that loads a model for long is down for HAProxy, and alive.
            if hangs and not is_live(replica.http_url):
                self._say(f"{replica.name} has not answered for {down} s: it is ended")
                for process in process_table():
                    if process.parent == child.pid:
                        kill_group(process.pid)

    def _end(
        self, children: list[Child], number: signal.Signals, hurry: Callable[[], bool]
    ) -> None:
        for child in children:
            child.signal(number)
        deadline = time.monotonic() + self.settings.exit_timeout
        # The servers get their own exit timeout, and what ends them gets some more.
        deadline += _GRACE_SECONDS if number == signal.SIGTERM else 0
        while not all(child.ended() for child in children):
            if hurry() or time.monotonic() > deadline:
                break
            time.sleep(_POLL_SECONDS)
        for child in children:
            child.kill()

    def _start(self) -> None:
        settings = self.settings
        (self._run_dir / "logs").mkdir(exist_ok=True)
        program = haproxy_program()
        wanted = settings.http_port, settings.grpc_port, settings.metrics_port
        front = settle_ports(self._listening(settings.bind, *wanted))
        self._front_ports = FrontPorts(front.http, front.grpc, front.metrics)
        releases = read_releases(self._run_dir, self._repository)
        names = [f"r{number}" for number in range(1, settings.replicas + 1)]
        if releases.canary and releases.canary.replica not in names:
            raise ClusterError(
                f"REPLICAS is {settings.replicas}: {releases.canary.replica} serves a canary; "
                "start as many as before, and publish or roll back"
            )
        releases.write(self._run_dir)
        for name in names:
            folder = self._run_dir / "replicas" / name
            folder.mkdir(parents=True, exist_ok=True)
            lay_out_replica(self._repository, releases, name, folder)
            # Nobody listens on those yet that were chosen before.
            promised = [port for _, ports in self._servers.values() for port in ports]
            of_server = self._listening("127.0.0.1", 0, 0, 0)
            ports = settle_ports(of_server, taken=[*front, *promised])
            self._servers[name] = self._server(name, folder, ports), ports
        for child, _ in self._servers.values():
            child.start()
        config = self._write_config()
        self._front = Child(
            "front door",
            [program, "-W", "-db", "-f", str(config)],
            {**os.environ, "LC_ALL": "C"},
            self._run_dir / "logs" / "haproxy.log",
        )
        self._front.start()
        self.look()

    def _listening(self, bind: str, http: int, grpc: int, metrics: int) -> Settings:
        return Settings(
            bind=bind,
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            model_repository=self._repository,
        )

    def _write_config(self) -> Path:
        settings = self.settings
        certificate = settings.tls_certificate
        if certificate is None:
            _, certificate = ensure_certificate(self._run_dir, settings.bind)
        releases = read_releases(self._run_dir, self._repository)
        ensure_keys(self._run_dir)
        text = render_config(
            settings,
            Place(
                ports=self._front_ports,
                folder=self._run_dir,
                socket=front_socket(self._run_dir),
                certificate=certificate.absolute(),
            ),
            self.state.replicas,
            weights=releases.weights(list(self._servers)),
            admin_token=self._token,
        )
        written = write_config(self._run_dir, text)
        self._front_loads += 1
        return written

    def _server(self, name: str, folder: Path, ports: Ports) -> Child:
        settings = self.settings
        environment = {
            **os.environ,
            "BIND": "127.0.0.1",
            "HTTP_PORT": str(ports.http),
            "GRPC_PORT": str(ports.grpc),
            "METRICS_PORT": str(ports.metrics),
            "CONFIG": settings.config,
            "MODEL_REPOSITORY": str(folder),
            "MODEL_CONTROL": "explicit",
            "ADMIN_TOKEN": self._token,
            "START_TIMEOUT": str(settings.start_timeout),
            "EXIT_TIMEOUT": str(settings.exit_timeout),
            "LOG_FILE": str(self._run_dir / "logs" / f"{name}.triton.log"),
            "TRACE_URL": settings.trace_url,
        }
        command = [sys.executable, "-m", "server"]
        return Child(name, command, environment, self._run_dir / "logs" / f"{name}.log")
