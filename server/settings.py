"""The server's settings, read from the environment and checked where they are written."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from server.errors import SettingsError
from server.hardware import gpu_is_visible

PLAIN_CONFIG = "config.pbtxt"
"""The value of CONFIG that means: no named config, each model's config.pbtxt."""

MODEL_CONTROLS = ("none", "explicit")

HIGHEST_PORT = 65535


@dataclass(frozen=True)
class Settings:
    """How to run Triton; each field is the environment variable of the same name.

    Attributes:
        bind: IPv4 address that all three services listen on.
        http_port: port of the HTTP service; 0 chooses a free one, here and below.
        grpc_port: port of the gRPC service.
        metrics_port: port of the Prometheus metrics.
        config: `config.pbtxt`, or NAME to prefer each model's `configs/NAME.pbtxt`.
        triton_dir: another Triton installation to run; None runs the packaged one.
        model_repository: the folder of models to serve.
        log_verbose: 0 shows what matters; from 1 on everything that Triton logs.
        log_file: where Triton's whole log goes; None keeps it only while the server runs.
        start_timeout: seconds that loading the models may take.
        exit_timeout: seconds that requests under way get to finish at a stop.
        model_control: `none`, or `explicit` to load and unload models while the server runs.
        admin_token: what requests of administration have to bring in the header
            `triton-admin`; empty leaves them open to everybody who reaches the server.
        trace_url: where spans go, an OTLP endpoint over HTTP; empty traces nothing.
        trace_rate: one request of so many is traced.
    """

    bind: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    config: str = "cpu"
    triton_dir: Path | None = None
    model_repository: Path = Path("model_repository")
    log_verbose: int = 0
    log_file: Path | None = None
    start_timeout: int = 300
    exit_timeout: int = 20
    model_control: str = "none"
    admin_token: str = ""
    trace_url: str = ""
    trace_rate: int = 1

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            SettingsError: names the setting, its value and what is allowed.
        """
        _check_address("BIND", self.bind)
        ports = {
            "HTTP_PORT": self.http_port,
            "GRPC_PORT": self.grpc_port,
            "METRICS_PORT": self.metrics_port,
        }
        for name, port in ports.items():
            _check_range(name, port, 0, HIGHEST_PORT)
        _check_distinct(ports)
        _check_range("LOG_VERBOSE", self.log_verbose, 0, 9)
        _check_range("START_TIMEOUT", self.start_timeout, 1, 86400)
        _check_range("EXIT_TIMEOUT", self.exit_timeout, 1, 3600)
        if not self.model_repository.is_dir():
            raise SettingsError(
                f"MODEL_REPOSITORY is {str(self.model_repository)!r}: "
                "it has to be a folder of models"
            )
        _check_config(self.config, self.model_repository)
        if self.model_control not in MODEL_CONTROLS:
            raise SettingsError(
                f"MODEL_CONTROL is {self.model_control!r}: "
                f"it has to be one of {', '.join(MODEL_CONTROLS)}"
            )
        _check_range("TRACE_RATE", self.trace_rate, 1, 1_000_000)
        if self.trace_url and not re.fullmatch(r"https?://[^\s,]+", self.trace_url):
            raise SettingsError(
                f"TRACE_URL is {self.trace_url!r}: it has to be an OTLP endpoint, "
                "such as http://127.0.0.1:4318/v1/traces"
            )
        if self.admin_token and not re.fullmatch(r"[A-Za-z0-9_-]{16,}", self.admin_token):
            # Not shown: it is a secret.
            raise SettingsError("ADMIN_TOKEN has to be at least 16 letters, digits, '-' or '_'")

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, *, default_ports: bool = True
    ) -> Settings:
        """Reads the settings; a variable that is unset or empty takes its default.

        Args:
            environment: the variables; the process's own when None.
            default_ports: whether ports that are not set get Triton's usual numbers
                (8000 to 8002); otherwise free ones are chosen.

        Returns:
            The checked settings.

        Raises:
            SettingsError: a value cannot be used.
        """
        values = os.environ if environment is None else environment

        def integer(name: str, default: int) -> int:
            text = values.get(name, "").strip()
            try:
                return int(text) if text else default
            except ValueError:
                raise SettingsError(f"{name} is {text!r}: it has to be a whole number") from None

        def path(name: str) -> Path | None:
            return Path(values[name]).expanduser().absolute() if values.get(name) else None

        def port(name: str, default: int) -> int:
            return integer(name, default if default_ports else 0)

        return cls(
            bind=values.get("BIND") or cls.bind,
            http_port=port("HTTP_PORT", cls.http_port),
            grpc_port=port("GRPC_PORT", cls.grpc_port),
            metrics_port=port("METRICS_PORT", cls.metrics_port),
            config=values.get("CONFIG") or (PLAIN_CONFIG if gpu_is_visible(values) else "cpu"),
            triton_dir=path("TRITON_DIR"),
            model_repository=path("MODEL_REPOSITORY") or cls.model_repository.absolute(),
            log_verbose=integer("LOG_VERBOSE", cls.log_verbose),
            log_file=path("LOG_FILE"),
            start_timeout=integer("START_TIMEOUT", cls.start_timeout),
            exit_timeout=integer("EXIT_TIMEOUT", cls.exit_timeout),
            model_control=values.get("MODEL_CONTROL") or cls.model_control,
            admin_token=values.get("ADMIN_TOKEN", ""),
            trace_url=values.get("TRACE_URL", ""),
            trace_rate=integer("TRACE_RATE", cls.trace_rate),
        )


def _check_address(name: str, value: str) -> None:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        raise SettingsError(
            f"{name} is {value!r}: it has to be an IPv4 address, "
            "such as 127.0.0.1 (this machine only) or 0.0.0.0 (everybody)"
        ) from None


def _check_range(name: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value}: it has to be from {lowest} to {highest}")


def _check_distinct(ports: Mapping[str, int]) -> None:
    owners: dict[int, str] = {}
    for name, port in ports.items():
        if port and port in owners:
            raise SettingsError(f"{name} is {port}: {owners[port]} has that port already")
        owners[port] = name


def _check_config(name: str, repository: Path) -> None:
    known = {path.stem for path in repository.glob("*/configs/*.pbtxt")}
    allowed = [PLAIN_CONFIG, *sorted(known | {"cpu"})]
    if name not in allowed:
        raise SettingsError(
            f"CONFIG is {name!r}: no model has configs/{name}.pbtxt; "
            f"it has to be one of {', '.join(allowed)}"
        )
