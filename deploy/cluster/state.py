"""What runs where: written by the supervisor, read by every other command."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.cluster.errors import ClusterError
from deploy.cluster.secure_files import write_private

FILENAME = "cluster.json"


@dataclass(frozen=True)
class ReplicaState:
    """One server, and its ports on loopback, which restarts keep."""

    name: str  # `r1`, `r2`, …
    pid: int  # of the process that runs and watches its tritonserver; 0 while there is none
    starts: int
    http: int
    grpc: int
    metrics: int

    @property
    def http_url(self) -> str:
        """`host:port` of the HTTP service."""
        return f"127.0.0.1:{self.http}"

    @property
    def grpc_url(self) -> str:
        """`host:port` of the gRPC service."""
        return f"127.0.0.1:{self.grpc}"

    @property
    def metrics_url(self) -> str:
        """`host:port` of the metrics."""
        return f"127.0.0.1:{self.metrics}"


@dataclass(frozen=True)
class ClusterState:
    """The whole cluster; its URLs are `host:port` of HAProxy, HTTP and gRPC over TLS."""

    pid: int  # of the supervisor
    front_pid: int  # of HAProxy's master process
    front_loads: int  # how often HAProxy was given a configuration
    http_url: str
    grpc_url: str
    metrics_url: str
    admin_token: str  # what the servers expect in an administrative request
    replicas: tuple[ReplicaState, ...]

    def replica(self, name: str) -> ReplicaState:
        """The server of that name."""
        return next(replica for replica in self.replicas if replica.name == name)

    def write(self, run_dir: Path) -> None:
        """Writes the state into the cluster's folder."""
        write_private(run_dir / FILENAME, json.dumps(asdict(self), indent=2).encode())


def read_state(run_dir: Path) -> ClusterState:
    """Reads the state of the cluster that runs in a folder.

    Raises:
        ClusterError: No cluster runs there.
    """
    try:
        content = json.loads((run_dir / FILENAME).read_text())
    except OSError:
        raise ClusterError(f"no cluster runs in {run_dir}: start one with make cluster") from None
    content["replicas"] = tuple(ReplicaState(**replica) for replica in content["replicas"])
    return ClusterState(**content)
