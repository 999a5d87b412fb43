"""Commands to the load balancer, a running HAProxy."""

import csv
import socket
from pathlib import Path

from deploy.cluster.errors import ClusterError

_REQUESTS = ("http_servers", "grpc_servers")
_BACKENDS = (*_REQUESTS, "grpc_streams")


def command_socket(run_dir: Path) -> Path:
    """Where the load balancer of a cluster takes commands."""
    return run_dir.absolute() / "front.sock"


class LoadBalancer:
    """Gives commands to the load balancer of a running cluster.

    Every method raises `ClusterError` where HAProxy does not answer or refuses.
    """

    def __init__(self, run_dir: Path) -> None:
        self._socket = command_socket(run_dir)

    def drain(self, replica: str) -> None:
        """Sends no further request to a server; those under way go on."""
        self._set_state(replica, "drain")

    def enable(self, replica: str) -> None:
        """Sends requests to a server again, as soon as it is ready."""
        self._set_state(replica, "ready")

    def under_way(self, replica: str) -> int:
        """The number of requests that a server is answering; streams, which may last, apart."""
        rows = self._rows(replica)
        return sum(int(row["scur"]) for row in rows if row["pxname"] in _REQUESTS)

    def is_up(self, replica: str) -> bool:
        """Whether a server gets requests of both protocols, and no check failed just now."""
        rows = self._rows(replica)
        return bool(rows) and all(row["status"] == "UP" for row in rows)

    def down_seconds(self, replica: str) -> int:
        """For how long a server has been down; 0 while it is not."""
        downs = [int(row["lastchg"]) for row in self._rows(replica) if row["status"] == "DOWN"]
        return min(downs, default=0)

    def statistics(self) -> list[dict[str, str]]:
        """HAProxy's own statistics: a row for each server, backend and frontend."""
        return list(csv.DictReader(self._ask("show stat").lstrip("# ").splitlines()))

    def _rows(self, replica: str) -> list[dict[str, str]]:
        rows = self.statistics()
        return [row for row in rows if row["svname"] == replica and row["pxname"] in _BACKENDS]

    def _set_state(self, replica: str, state: str) -> None:
        for backend in _BACKENDS:
            answer = self._ask(f"set server {backend}/{replica} state {state}").strip()
            if answer:
                raise ClusterError(f"HAProxy does not set {replica} to {state}: {answer}")

    def _ask(self, command: str) -> str:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(5)
                connection.connect(str(self._socket))
                connection.sendall(f"{command}\n".encode())
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("r") as answer:
                    return answer.read()
        except OSError as error:
            raise ClusterError(f"HAProxy takes no commands: {error.strerror or error}") from None
