"""The cluster's settings, read from the environment and checked where they are written."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from deploy.cluster.errors import ClusterError

_SOCKET_LIMIT = 107
_RANGES = {
    "replicas": (1, 16),
    "http_port": (0, 65535),
    "grpc_port": (0, 65535),
    "metrics_port": (0, 65535),
    "rate_limit": (1, 1_000_000),
    "max_body_mib": (1, 1024),
    "max_in_flight": (1, 1024),
    "max_waiting": (1, 10_000),
    "request_timeout": (1, 3600),
    "start_timeout": (1, 86400),
    "exit_timeout": (1, 3600),
    "hang_timeout": (1, 3600),
}


@dataclass(frozen=True)
class ClusterSettings:
    """How to run a cluster; each field is the environment variable of the same name.

    Attributes:
        replicas: Triton servers behind the front door.
        bind: IPv4 address of the front door; the servers listen on loopback only.
        http_port: port of HTTP over TLS; 0 chooses a free one, here and below.
        grpc_port: port of gRPC over TLS.
        metrics_port: port of the front door's own metrics, on loopback.
        rate_limit: requests a key a second, above which 429 is answered.
        max_body_mib: largest body of an inference request, in MiB.
        max_in_flight: requests of one protocol that a server gets at the same time.
        max_waiting: further requests of one protocol that wait in the front door; what
            comes on top is answered 503 at once.
        request_timeout: seconds that a server may take for an answer.
        run_dir: the private folder of certificates, keys, logs and state.
        tls_certificate: a PEM file with certificate and key; None makes one of its own.
        model_repository: the folder of models, as `make build` fills it.
        config: as for the server; empty leaves the choice to it.
        start_timeout: seconds that loading the models may take.
        exit_timeout: seconds that requests under way get to finish at a stop.
        hang_timeout: seconds after which a server that runs and does not answer is ended.
        trace_url: where spans go, an OTLP endpoint such as
            `http://127.0.0.1:4318/v1/traces`; empty traces nothing.
    """

    replicas: int = 2
    bind: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    rate_limit: int = 1000
    max_body_mib: int = 16
    max_in_flight: int = 32
    max_waiting: int = 64
    request_timeout: int = 60
    run_dir: Path = Path(".run/cluster")
    tls_certificate: Path | None = None
    model_repository: Path = Path("model_repository")
    config: str = ""
    start_timeout: int = 300
    exit_timeout: int = 20
    hang_timeout: int = 60
    trace_url: str = ""

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            ClusterError: names the setting, its value and what is allowed.
        """
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ClusterError(
                    f"{name.upper()} is {value}: it has to be from {lowest} to {highest}"
                )
        try:
            ipaddress.IPv4Address(self.bind)
        except ValueError:
            raise ClusterError(f"BIND is {self.bind!r}: it has to be an IPv4 address") from None
        if not self.model_repository.is_dir():
            raise ClusterError(
                f"MODEL_REPOSITORY is {str(self.model_repository)!r}: "
                "it has to be a folder of models"
            )
        if self.tls_certificate and not self.tls_certificate.is_file():
            raise ClusterError(
                f"TLS_CERTIFICATE is {str(self.tls_certificate)!r}: it has to be a PEM file "
                "with the certificate and its key"
            )
        if self.trace_url and not self.trace_url.startswith(("http://", "https://")):
            raise ClusterError(f"TRACE_URL is {self.trace_url!r}: it has to be an http(s) URL")
        # HAProxy makes its socket under a longer name first, and the kernel has a limit.
        longest = len(f"{self.run_dir.absolute()}/front.sock.{2**22}.tmp")
        if longest > _SOCKET_LIMIT:
            raise ClusterError(
                f"RUN_DIR is {str(self.run_dir)!r}: its full path has to be "
                f"{longest - _SOCKET_LIMIT} characters shorter, or no socket fits into it"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ClusterSettings:
        """Reads the settings; a variable that is unset or empty takes its default.

        Args:
            environment: the variables; the process's own when None.

        Returns:
            The checked settings.

        Raises:
            ClusterError: a value cannot be used.
        """
        values = os.environ if environment is None else environment
        found: dict[str, int | str | Path] = {}
        for field in fields(cls):
            text = values.get(field.name.upper(), "").strip()
            if not text:
                continue
            if field.name in _RANGES:
                try:
                    found[field.name] = int(text)
                except ValueError:
                    raise ClusterError(
                        f"{field.name.upper()} is {text!r}: it has to be a whole number"
                    ) from None
            else:
                found[field.name] = Path(text).expanduser() if "Path" in field.type else text
        return cls(**found)  # type: ignore[arg-type]
