"""Writes the command line of tritonserver."""

from pathlib import Path

from server.installation import Installation
from server.ports import Ports
from server.settings import PLAIN_CONFIG, Settings

ADMIN_HEADER = "triton-admin"
"""The HTTP header of ADMIN_TOKEN."""
ADMIN_METADATA = f"triton-grpc-protocol-{ADMIN_HEADER}"
"""The same for gRPC, where Triton puts a prefix before the name."""
_ADMINISTRATION = "model-repository,shared-memory,trace,logging,statistics"


def server_command(
    settings: Settings,
    installation: Installation,
    ports: Ports,
    repository: Path,
    backends: Path,
    *,
    shm_prefix: str,
    gpu: bool,
) -> list[str]:
    """The program to run and its arguments.

    It serves the `repository`, which is that of the settings by a path that Triton can read. The
    names of its shared memory begin with `shm_prefix`; `gpu` tells whether there is a GPU to
    report metrics of.
    """
    command = [
        str(installation.binary),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--cache-directory={installation.caches}",
        # The configs declare everything. Completing them would start every Python model
        # once more, only to ask it, and would let a config differ from what is served.
        "--disable-auto-complete-config",
        f"--http-address={settings.bind}",
        f"--http-port={ports.http}",
        f"--grpc-address={settings.bind}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={settings.bind}",
        f"--metrics-port={ports.metrics}",
        "--metrics-config=summary_latencies=true",
        f"--exit-timeout-secs={settings.exit_timeout}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
    ]
    if settings.config != PLAIN_CONFIG:
        command.append(f"--model-config-name={settings.config}")
    if settings.model_control != "none":
        command += [f"--model-control-mode={settings.model_control}", "--load-model=*"]
    if token := settings.admin_token.get_secret_value():
        guard = f"{_ADMINISTRATION}:{ADMIN_HEADER}={token}"
        command += [f"--http-restricted-api={guard}", f"--grpc-restricted-protocol={guard}"]
    if settings.trace_url:
        command += [
            "--trace-config=mode=opentelemetry",
            f"--trace-config=opentelemetry,url={settings.trace_url}",
            "--trace-config=opentelemetry,resource=service.name=triton",
            f"--trace-config=rate={settings.trace_rate}",
            "--trace-config=level=TIMESTAMPS",
        ]
    if settings.log_verbose:
        command.append(f"--log-verbose={settings.log_verbose}")
    if not gpu:
        command.append("--allow-gpu-metrics=false")
    return command
