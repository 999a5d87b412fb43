"""Keeps the servers and the load balancer running until it is told to stop."""

import os
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from typing_extensions import Self

from deploy.cluster.certificates import ensure_certificate
from deploy.cluster.errors import ClusterError
from deploy.cluster.haproxy_config import (
    HAProxyLayout,
    haproxy_program,
    render_config,
    write_config,
)
from deploy.cluster.keys import ensure_keys
from deploy.cluster.load_balancer import LoadBalancer, command_socket
from deploy.cluster.managed_process import ManagedProcess, end_together
from deploy.cluster.releases import lay_out_replica, read_releases
from deploy.cluster.second_server import SecondServer
from deploy.cluster.secure_files import make_private_folder
from deploy.cluster.server_process import server_process
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import FILENAME, ClusterState, ReplicaState
from server.ports import Ports, settle_ports
from server.processes import kill_group, process_table
from server.readiness import is_live, is_ready
from server.settings import Settings
from server.signals import STOP_AT_ONCE

_HAPROXY = Path(__file__).with_name("haproxy.sh")
_USERS_CERTIFICATE = "tls.pem"
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10
_HANG_CHECK_SECONDS = 1.0


class Supervisor:
    """A running cluster, for the length of a `with` block.

    Call `check` again and again: it restarts whatever has ended.

    Args:
        settings: How to run it.
        log: Receives a line about each event.
    """

    def __init__(self, settings: ClusterSettings, log: Callable[[str], None]) -> None:
        self.settings = settings
        self._log = log
        self._run_dir = settings.run_dir.absolute()
        self._repository = settings.model_repository.absolute()
        self._token = secrets.token_urlsafe(32)
        self._lock = FileLock(self._run_dir / "cluster.lock")
        self._haproxy: ManagedProcess | None = None
        self._servers: dict[str, tuple[ManagedProcess, Ports]] = {}
        self._second_name = f"r{settings.replicas + 1}"
        self._second = SecondServer(self._run_dir, lambda: self._prepare(self._second_name))
        self._ports = Ports(0, 0, 0)
        self._loads = 0
        self._reload_requested = False
        self._next_hang_check = 0.0
        self._written: ClusterState | None = None

    def __enter__(self) -> Self:
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
            front_pid=self._haproxy.pid if self._haproxy else 0,
            front_loads=self._loads,
            http_url=f"{host}:{self._ports.http}",
            grpc_url=f"{host}:{self._ports.grpc}",
            metrics_url=f"127.0.0.1:{self._ports.metrics}",
            admin_token=self._token,
            replicas=tuple(
                ReplicaState(name, server.pid, server.starts, *ports)
                for name, (server, ports) in self._servers.items()
            ),
        )

    def request_reload(self, *_: object) -> None:
        """Lets the next `check` have HAProxy read keys, certificate and weights again."""
        self._reload_requested = True

    def check(self) -> None:
        """Restarts what has ended or hangs, and writes down what runs."""
        self._tend_second()
        if self._reload_requested and self._haproxy:
            self._reload_requested = False
            try:
                self._write_config()
                # The old process answers what it has accepted; a new one takes what comes.
                self._haproxy.signal(signal.SIGUSR2)
                self._log("HAProxy reads its configuration again")
            except ClusterError as error:
                self._log(f"HAProxy stays as it is: {error}")
        servers = [server for server, _ in self._servers.values()]
        for process in [self._haproxy, *servers, *self._second.starting]:
            event = process.keep_running() if process else None
            if event:
                self._log(event)
        if time.monotonic() > self._next_hang_check:
            self._next_hang_check = time.monotonic() + _HANG_CHECK_SECONDS
            self._end_hanging()
        if self.state != self._written:
            self._written = self.state
            self._written.write(self._run_dir)

    def wait_until_ready(self, stop_requested: Callable[[], bool]) -> bool:
        """Waits until HAProxy has found every server ready; False when a stop was requested.

        Raises:
            ClusterError: They are not within START_TIMEOUT.
        """
        deadline = time.monotonic() + self.settings.start_timeout
        while not self._all_in_service():
            if stop_requested():
                return False
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"not all servers were ready within {self.settings.start_timeout} seconds: "
                    f"see {self._run_dir / 'logs'}, or set a longer START_TIMEOUT"
                )
            self.check()
            time.sleep(_POLL_SECONDS)
        return True

    def _all_in_service(self) -> bool:
        """Whether the next request would be answered, whichever server it goes to."""
        load_balancer = LoadBalancer(self._run_dir)
        try:
            return all(
                is_ready(replica.http_url) and load_balancer.is_up(replica.name)
                for replica in self.state.replicas
            )
        except ClusterError:  # HAProxy itself is starting.
            return False

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> None:
        """Lets requests under way finish, then ends HAProxy and the servers.

        Once `hurry`, which is asked again and again, is true, all is ended at once.
        """
        if self._haproxy:
            # Takes no new connection and ends after the last answer.
            end_together([self._haproxy], self.settings.exit_timeout, hurry)
            self._haproxy.kill()
        # The servers have an exit timeout of their own, and end a little after it.
        timeout = self.settings.exit_timeout + _GRACE_SECONDS
        servers = [server for server, _ in self._servers.values()] + self._second.processes
        end_together(servers, timeout, hurry)
        if hurry():
            # A server that is killed cannot end its Triton, which would go on by itself.
            end_together(servers, _GRACE_SECONDS, lambda: False, STOP_AT_ONCE)
        for process in servers:
            process.kill()
        self._haproxy, self._servers = None, {}
        (self._run_dir / FILENAME).unlink(missing_ok=True)
        self._lock.release()

    def _tend_second(self) -> None:
        """Has a second server serve where a command asks for one, and ends it afterwards."""
        name = self._second_name
        if not self._second.requested:
            served = [self._servers.pop(name)[0]] if name in self._servers else []
            self._reload_requested |= bool(served)
            self._second.end(*served)
        elif self._haproxy and name not in self._servers and (ready := self._second.start()):
            self._servers[name] = ready
            self._reload_requested = True

    def _end_hanging(self) -> None:
        """Ends servers that were in service since their start and do not answer any more."""
        load_balancer = LoadBalancer(self._run_dir)
        for replica in self.state.replicas:
            server, _ = self._servers[replica.name]
            try:
                down = load_balancer.down_seconds(replica.name)
            except ClusterError:
                return  # HAProxy itself is starting.
            hangs = self.settings.hang_timeout < down < server.running_seconds()
            # One that loads a model for long is down for HAProxy, and alive.
            if hangs and not is_live(replica.http_url):
                self._log(f"{replica.name} has not answered for {down} s: it is ended")
                for process in process_table():
                    if process.parent == server.pid:
                        kill_group(process.pid)

    def _start(self) -> None:
        settings = self.settings
        logs = self._run_dir / "logs"
        logs.mkdir(exist_ok=True)
        program = haproxy_program()
        self._ports = self._choose_ports(
            settings.bind, settings.http_port, settings.grpc_port, settings.metrics_port
        )
        releases = read_releases(self._run_dir, self._repository)
        names = [f"r{number}" for number in range(1, settings.replicas + 1)]
        if releases.canary and releases.canary.replica not in names:
            raise ClusterError(
                f"REPLICAS is {settings.replicas}: {releases.canary.replica} serves a canary; "
                "start as many as before, and publish or roll back"
            )
        releases.write(self._run_dir)
        self._second.forget_requests()
        for name in names:
            self._servers[name] = self._prepare(name)
        for server, _ in self._servers.values():
            server.start()
        command = [str(_HAPROXY), "-W", "-db", "-f", str(self._write_config())]
        environment = {**os.environ, "LC_ALL": "C", "HAPROXY_PROGRAM": program}
        self._haproxy = ManagedProcess(
            "HAProxy", command, environment, logs / "haproxy.log", folder=self._run_dir
        )
        self._haproxy.start()
        self.check()

    def _prepare(self, name: str) -> tuple[ManagedProcess, Ports]:
        """A server that may be started, and its ports."""
        releases = read_releases(self._run_dir, self._repository)
        folder = self._run_dir / "replicas" / name
        folder.mkdir(parents=True, exist_ok=True)
        lay_out_replica(self._repository, releases, name, folder)
        ports = self._choose_ports("127.0.0.1", 0, 0, 0)
        process = server_process(self.settings, name, folder, ports, self._token)
        return process, ports

    def _choose_ports(self, bind: str, http: int, grpc: int, metrics: int) -> Ports:
        # Nobody listens yet on those that were chosen before.
        chosen = [self._ports, *(ports for _, ports in self._servers.values())]
        wanted = Settings(
            bind=bind,
            http_port=http,
            grpc_port=grpc,
            metrics_port=metrics,
            model_repository=self._repository,
        )
        return settle_ports(wanted, taken=[port for ports in chosen for port in ports])

    def _write_config(self) -> Path:
        settings = self.settings
        if settings.tls_certificate is None:
            _, certificate = ensure_certificate(self._run_dir, settings.bind)
        else:
            certificate = self._run_dir / _USERS_CERTIFICATE
            certificate.unlink(missing_ok=True)
            certificate.symlink_to(settings.tls_certificate.absolute())
        ensure_keys(self._run_dir)
        # Names in RUN_DIR, where HAProxy runs: whatever its path, no word of it ends a setting.
        layout = HAProxyLayout(
            ports=self._ports,
            folder=Path(),
            socket=Path(command_socket(self._run_dir).name),
            certificate=Path(certificate.name),
        )
        releases = read_releases(self._run_dir, self._repository)
        text = render_config(
            settings,
            layout,
            self.state.replicas,
            weights=releases.weights(list(self._servers)),
            admin_token=self._token,
        )
        written = write_config(self._run_dir, text)
        self._loads += 1
        return written
