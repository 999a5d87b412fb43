"""The front door, HAProxy: its configuration, and orders to the running one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from deploy.cluster.errors import ClusterError
from deploy.cluster.keys import ROLES, key_files
from deploy.cluster.secure_files import write_private
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import ReplicaState

PROTOCOLS = ("http", "grpc")
_TEMPLATE = "haproxy.cfg.jinja"
_QUEUE_SECONDS = 5
_MIB = 2**20


@dataclass(frozen=True)
class FrontPorts:
    """Where the front door listens."""

    http: int
    grpc: int
    metrics: int


def haproxy_program() -> str:
    """Finds HAProxy.

    Returns:
        The program's path.

    Raises:
        ClusterError: it is not installed.
    """
    # Debian keeps it where only root's PATH leads.
    found = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise ClusterError("haproxy is not installed: on Debian, apt-get install haproxy")
    return found


@dataclass(frozen=True)
class Place:
    """What the configuration says about where things are.

    Attributes:
        ports: where the front door listens.
        hosts: by server, its host.
        folder: where certificate, keys and socket are, as HAProxy sees it.
        socket: where it takes orders.
        certificate: PEM file of certificate and key.
        metrics_bind: address of the front door's metrics.
        nameserver: who knows the hosts, `address:port`; empty where they are addresses.
    """

    ports: FrontPorts
    folder: Path
    socket: Path
    certificate: Path
    hosts: Mapping[str, str] = field(default_factory=dict)
    metrics_bind: str = "127.0.0.1"
    nameserver: str = ""


def render_config(
    settings: ClusterSettings,
    place: Place,
    replicas: Sequence[ReplicaState],
    *,
    weights: Mapping[str, int],
    admin_token: str,
) -> str:
    """Writes the configuration's text.

    Args:
        settings: the cluster's settings.
        place: where things are.
        replicas: the servers behind the front door.
        weights: by server, its share of the requests.
        admin_token: what the servers want from a request of administration.

    Returns:
        The text of haproxy.cfg.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - no HTML
    )
    in_flight = len(PROTOCOLS) * settings.max_in_flight * len(replicas)
    return environment.get_template(_TEMPLATE).render(
        bind=settings.bind,
        http_port=place.ports.http,
        grpc_port=place.ports.grpc,
        metrics_port=place.ports.metrics,
        metrics_bind=place.metrics_bind,
        nameserver=place.nameserver,
        socket=place.socket,
        certificate=place.certificate,
        keys={role: place.folder / key_files(place.folder, role).digests.name for role in ROLES},
        replicas=[
            {
                "name": replica.name,
                "host": place.hosts.get(replica.name, "127.0.0.1"),
                "http": replica.http,
                "grpc": replica.grpc,
                "weight": weights[replica.name],
            }
            for replica in replicas
        ],
        admin_token=admin_token,
        rate_limit=settings.rate_limit,
        max_body_mib=settings.max_body_mib,
        max_body=settings.max_body_mib * _MIB,
        max_in_flight=settings.max_in_flight,
        max_waiting=settings.max_waiting,
        max_connections=4 * (in_flight + len(PROTOCOLS) * settings.max_waiting) + 1000,
        queue_seconds=_QUEUE_SECONDS,
        request_timeout=settings.request_timeout,
        threads=min(4, os.cpu_count() or 1),
    )


def write_config(run_dir: Path, text: str) -> Path:
    """Has HAProxy check a configuration before it takes the old one's place.

    Args:
        run_dir: the cluster's folder.
        text: the configuration.

    Returns:
        The file.

    Raises:
        ClusterError: HAProxy refuses it, in its own words.
    """
    file, candidate = run_dir / "haproxy.cfg", run_dir / "haproxy.new.cfg"
    write_private(candidate, text.encode())
    checked = subprocess.run(
        [haproxy_program(), "-c", "-f", str(candidate)],
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        alerts = [line for line in checked.stderr.splitlines() if line.startswith("[ALERT]")]
        raise ClusterError(f"HAProxy refuses {candidate}: {' '.join(alerts)}")
    candidate.rename(file)
    return file


def front_socket(run_dir: Path) -> Path:
    """Says where the front door takes orders."""
    return run_dir.absolute() / "front.sock"


class Front:
    """Gives orders to the running front door."""

    def __init__(self, run_dir: Path) -> None:
        self._socket = front_socket(run_dir)

    def drain(self, replica: str) -> None:
        """Sends no further request to a server; those under way go on."""
        self._set_state(replica, "drain")

    def enable(self, replica: str) -> None:
        """Sends requests to a server again, as soon as it is ready."""
        self._set_state(replica, "ready")

    def under_way(self, replica: str) -> int:
        """Counts the requests that a server is answering."""
        return sum(int(row["scur"]) for row in self._rows(replica))

    def is_up(self, replica: str) -> bool:
        """Tells whether a server gets requests, of both protocols, and no check failed just now."""
        rows = self._rows(replica)
        return bool(rows) and all(row["status"] == "UP" for row in rows)

    def down_seconds(self, replica: str) -> int:
        """Tells for how long a server has been down; 0 while it is not."""
        downs = [int(row["lastchg"]) for row in self._rows(replica) if row["status"] == "DOWN"]
        return min(downs, default=0)

    def statistics(self) -> list[dict[str, str]]:
        """HAProxy's own statistics: a row for each server, backend and frontend."""
        header, *lines = self._ask("show stat").lstrip("# ").splitlines()
        names = header.split(",")
        return [dict(zip(names, line.split(","), strict=False)) for line in lines if line]

    def _rows(self, replica: str) -> list[dict[str, str]]:
        backends = {f"{protocol}_servers" for protocol in PROTOCOLS}
        rows = self.statistics()
        return [row for row in rows if row["svname"] == replica and row["pxname"] in backends]

    def _set_state(self, replica: str, state: str) -> None:
        for protocol in PROTOCOLS:
            answer = self._ask(f"set server {protocol}_servers/{replica} state {state}").strip()
            if answer:
                raise ClusterError(f"HAProxy does not set {replica} to {state}: {answer}")

    def _ask(self, order: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(5)
                connection.connect(str(self._socket))
                connection.sendall(f"{order}\n".encode())
                connection.shutdown(socket.SHUT_WR)
                parts = iter(lambda: connection.recv(65536), b"")
                return b"".join(parts).decode()
        except OSError as error:
            raise ClusterError(f"HAProxy takes no orders: {error.strerror or error}") from None
