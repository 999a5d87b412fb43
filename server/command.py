"""Writes the command line of tritonserver."""

from pathlib import Path

from server.installation import Installation
from server.ports import Ports
from server.settings import PLAIN_CONFIG, Settings

ADMIN_HEADER = "triton-admin"
"""The HTTP header of ADMIN_TOKEN."""
ADMIN_METADATA = f"triton-grpc-protocol-{ADMIN_HEADER}"
"""The same for gRPC, where Triton puts a prefix before the name."""
_CLOSED_HEADER = "triton-closed"
LOOPBACK = "127.0.0.1"


def server_command(
    settings: Settings,
    installation: Installation,
    ports: Ports,
    repository: Path,
    backends: Path,
    *,
    shm_prefix: str,
    gpu: bool,
    secret: str,
) -> list[str]:
    """The program to run and its arguments.

    Args:
        settings: How it is run.
        installation: The Triton to run.
        ports: Where it listens itself, on loopback if a guard stands in front of it.
        repository: That of the settings, by a path that Triton can read.
        backends: The folder of its backends.
        shm_prefix: How the names of its shared memory begin.
        gpu: Whether there is a GPU to report metrics of.
        secret: The value of the header that opens administrative requests.
    """
    address = LOOPBACK if settings.guarded else settings.bind
    command = [
        str(installation.binary),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--cache-directory={installation.caches}",
        # The configs declare everything. Completing them would start every Python model
        # once more, only to ask it, and would let a config differ from what is served.
        "--disable-auto-complete-config",
        f"--http-address={address}",
        f"--http-port={ports.http}",
        f"--grpc-address={address}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={address}",
        f"--metrics-port={ports.metrics}",
        "--metrics-config=summary_latencies=true",
        f"--exit-timeout-secs={settings.exit_timeout}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
    ]
    if "allow-client-shm" in installation.flags:
        opened = "true" if settings.shared_memory == "on" else "false"
        command.append(f"--allow-client-shm={opened}")
    if "http-max-input-size" in installation.flags:
        command.append(f"--http-max-input-size={settings.max_body}")
    if settings.config != PLAIN_CONFIG:
        command.append(f"--model-config-name={settings.config}")
    if settings.model_control != "none":
        command += [f"--model-control-mode={settings.model_control}", "--load-model=*"]
    for restriction in _restrictions(settings, secret):
        command += [f"--http-restricted-api={restriction}"]
        command += [f"--grpc-restricted-protocol={restriction}"]
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


def admin_headers(settings: Settings, secret: str) -> dict[str, str]:
    """The HTTP headers with which this program itself may ask for the list of models."""
    if settings.model_control == "none":
        return {_CLOSED_HEADER: secret}
    token = settings.admin_token.get_secret_value()
    return {ADMIN_HEADER: token} if token else {}


def _restrictions(settings: Settings, secret: str) -> list[str]:
    """What Triton lets nobody do, and what only those do who have the token."""
    opened = {
        "model-repository": settings.model_control != "none",
        "shared-memory": settings.shared_memory == "on",
        "trace": settings.trace_control == "on",
        "logging": settings.log_control == "on",
        "statistics": True,
    }
    restrictions: list[str] = []
    if closed := ",".join(api for api, is_open in opened.items() if not is_open):
        restrictions.append(f"{closed}:{_CLOSED_HEADER}={secret}")
    if token := settings.admin_token.get_secret_value():
        administered = ",".join(api for api, is_open in opened.items() if is_open)
        restrictions.append(f"{administered}:{ADMIN_HEADER}={token}")
    return restrictions
