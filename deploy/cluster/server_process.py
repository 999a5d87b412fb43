"""How a server of the cluster is run: `python -m server`, with a guard of its own."""

import os
import sys
from pathlib import Path

from deploy.cluster.managed_process import ManagedProcess
from deploy.cluster.settings import ClusterSettings
from server.ports import Ports


def server_process(
    settings: ClusterSettings, name: str, folder: Path, ports: Ports, token: str
) -> ManagedProcess:
    """Makes a server that may be started.

    Args:
        settings: How the cluster runs.
        name: What the cluster calls it.
        folder: Its repository of models.
        ports: Where it listens, on this machine only.
        token: What administrative requests to it have to bring.
    """
    run_dir = settings.run_dir.absolute()
    logs = run_dir / "logs"
    environment = {
        **os.environ,
        "BIND": "127.0.0.1",
        "HTTP_PORT": str(ports.http),
        "GRPC_PORT": str(ports.grpc),
        "METRICS_PORT": str(ports.metrics),
        "CONFIG": settings.config,
        "MODEL_REPOSITORY": str(folder),
        "MODEL_CONTROL": "explicit",
        "ADMIN_TOKEN": token,
        "GUARD": "on",
        "QUARANTINE_DIR": str(run_dir / "quarantine"),
        "MAX_BODY": str(settings.max_body_mib * 2**20),
        "START_TIMEOUT": str(settings.start_timeout),
        "EXIT_TIMEOUT": str(settings.exit_timeout),
        "LOG_FILE": str(logs / f"{name}.triton.log"),
        "TRACE_URL": settings.trace_url,
    }
    command = [sys.executable, "-m", "server"]
    return ManagedProcess(name, command, environment, logs / f"{name}.log")
