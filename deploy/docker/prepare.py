"""Makes what the compose file mounts: `python -m deploy.docker.prepare`."""

from __future__ import annotations

import secrets
from pathlib import Path

from deploy.cluster.certificates import ensure_certificate
from deploy.cluster.haproxy_config import HAProxyLayout, render_config
from deploy.cluster.keys import ensure_keys
from deploy.cluster.secure_files import make_private_folder, write_private
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import ReplicaState
from server.ports import Ports

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".run" / "compose"
SERVERS = ("r1", "r2")
INSIDE = Path("/etc/serving")


def make(folder: Path) -> Path:
    """Makes certificate, keys, the servers' secret, and HAProxy's configuration, which it returns.

    The folder becomes private.
    """
    make_private_folder(folder)
    ensure_certificate(folder, "127.0.0.1")
    ensure_keys(folder)
    token = secrets.token_urlsafe(32)
    write_private(folder / "server.env", f"ADMIN_TOKEN={token}\nEXIT_TIMEOUT=30\n".encode())
    settings = ClusterSettings(bind="0.0.0.0", model_repository=ROOT / "model_repository")  # noqa: S104
    layout = HAProxyLayout(
        ports=Ports(8000, 8001, 8002),
        folder=INSIDE,
        socket=Path("/tmp/front.sock"),  # noqa: S108 - a tmpfs of the container's own
        certificate=INSIDE / "server.pem",
        hosts={name: name for name in SERVERS},
        metrics_bind="0.0.0.0",  # noqa: S104 - published to no other network
        resolve_names=True,
    )
    replicas = [ReplicaState(name, 0, 0, 8000, 8001, 8002) for name in SERVERS]
    text = render_config(
        settings, layout, replicas, weights=dict.fromkeys(SERVERS, 100), admin_token=token
    )
    write_private(folder / "haproxy.cfg", text.encode())
    return folder / "haproxy.cfg"


if __name__ == "__main__":
    print(f"wrote {make(FOLDER)} and what belongs to it")
    print("now, in deploy/docker: SERVING_USER=$(id -u):$(id -g) docker compose up --build")
