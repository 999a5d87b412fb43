"""The server's settings, read from the environment and checked where they are written."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from typing_extensions import Self

from server.device import CPU, GPU, detected_device
from server.environment import EnvironmentSettings

PLAIN_CONFIG = "config.pbtxt"
"""The value of CONFIG that means: no named config, each model's config.pbtxt."""

CPU_CONFIG = "cpu"
MAX_PORT = 65535
_PORTS = ("http_port", "grpc_port", "metrics_port")


def _check_address(address: str) -> str:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        raise ValueError(
            "an IPv4 address, such as 127.0.0.1 (this machine only) or 0.0.0.0 (everybody)"
        ) from None
    return address


BindAddress = Annotated[str, AfterValidator(_check_address)]
Port = Annotated[int, Field(ge=0, le=MAX_PORT)]
Switch = Literal["off", "on"]


class Settings(EnvironmentSettings):
    """How to run Triton; each field is the environment variable of the same name."""

    bind: BindAddress = "127.0.0.1"  # IPv4 address that all three services listen on
    http_port: Port = 8000  # 0 chooses a free one, here and below
    grpc_port: Port = 8001
    metrics_port: Port = 8002
    # What the models of our backend compute on. Read from the environment it is gpu where there
    # is one and CONFIG is not cpu.
    device: Literal["cpu", "gpu"] = CPU
    cuda_libraries: Path | None = None  # their folder; None looks where they usually are
    config: str = CPU_CONFIG  # `config.pbtxt`, or NAME to prefer each `configs/NAME.pbtxt`
    triton_dir: Path | None = None  # another Triton to run; None runs the packaged one
    model_repository: Path = Path("model_repository")
    log_verbose: Annotated[int, Field(ge=0, le=9)] = 0  # from 1 on everything that Triton logs
    log_file: Path | None = None  # for Triton's log; None keeps it only while the server runs
    start_timeout: Annotated[int, Field(ge=1, le=86400)] = 300  # seconds to load the models
    exit_timeout: Annotated[int, Field(ge=1, le=3600)] = 20  # seconds for requests under way
    model_control: Literal["none", "explicit"] = "none"  # explicit (un)loads models while it runs
    # Closed unless switched on: who may call it can read or end the server.
    shared_memory: Switch = "off"  # registering regions
    trace_control: Switch = "off"  # reading and changing the trace settings
    log_control: Switch = "off"  # reading and changing the log settings
    # What administrative requests, those that are open, bring in the header `triton-admin`; empty
    # lets everybody make them who reaches the server.
    admin_token: SecretStr = SecretStr("")
    # Checks requests before Triton, which single ones can end, parses them; auto is on where
    # other machines reach the server.
    guard: Literal["auto", "on", "off"] = "auto"
    anybody_may_end_this_server: Literal["no", "yes"] = "no"  # has to be said where nothing guards
    # Bytes of a request; the guard's limit, and Triton's own where it has one.
    max_body: Annotated[int, Field(ge=1024, le=1 << 31)] = 64 << 20
    # Where the guards of one machine keep what ended servers; None has a folder of its own.
    quarantine_dir: Path | None = None
    trace_url: str = ""  # where spans go, an OTLP endpoint over HTTP; empty traces nothing
    trace_rate: Annotated[int, Field(ge=1, le=1_000_000)] = 1  # one request of so many is traced

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        default_ports: bool = True,
        **defaults: Any,
    ) -> Self:
        """Reads the settings, as the base class does.

        Args:
            environment: The variables; the process's own when None.
            default_ports: Whether ports that are not set get Triton's usual numbers
                (8000 to 8002); otherwise free ones are chosen.
            defaults: Defaults other than the fields' own.

        Raises:
            SettingsError: A value is not allowed.
        """
        values = os.environ if environment is None else environment
        ports = {} if default_ports else dict.fromkeys(_PORTS, 0)
        device = values.get("DEVICE", "").strip() or detected_device(values)
        config = PLAIN_CONFIG if device == GPU else CPU_CONFIG
        found = {"device": device, "config": config}
        return super().from_environment(values, **{**found, **ports, **defaults})

    @property
    def guarded(self) -> bool:
        """Whether a guard stands in front of Triton."""
        return self.guard == "on" or (self.guard == "auto" and not self._is_loopback)

    @property
    def _is_loopback(self) -> bool:
        return ipaddress.IPv4Address(self.bind).is_loopback

    @field_validator(
        "triton_dir", "model_repository", "log_file", "quarantine_dir", "cuda_libraries"
    )
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()

    @field_validator("model_repository")
    @classmethod
    def _check_repository(cls, folder: Path) -> Path:
        if not folder.is_dir():
            raise ValueError("a folder of models")
        return folder

    @field_validator("cuda_libraries")
    @classmethod
    def _check_libraries(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError("a folder that holds the libraries of CUDA 13 and cuDNN 9")
        return folder

    @field_validator("admin_token")
    @classmethod
    def _check_token(cls, token: SecretStr) -> SecretStr:
        if not re.fullmatch(r"([A-Za-z0-9_-]{16,})?", token.get_secret_value()):
            raise ValueError("at least 16 letters, digits, '-' or '_'")
        return token

    @field_validator("trace_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not re.fullmatch(r"(https?://[^\s,]+)?", url):
            raise ValueError("an OTLP endpoint, such as http://127.0.0.1:4318/v1/traces")
        return url

    @model_validator(mode="after")
    def _check_ports_differ(self) -> Self:
        owners: dict[int, str] = {}
        for name in _PORTS:
            port = getattr(self, name)
            if port and port in owners:
                raise ValueError(
                    f"{name.upper()} is {port}: {owners[port].upper()} has that port already"
                )
            owners[port] = name
        return self

    @model_validator(mode="after")
    def _check_guard(self) -> Self:
        accepted = self._is_loopback or self.anybody_may_end_this_server == "yes"
        if not self.guarded and not accepted:
            raise ValueError(
                f"GUARD is 'off' and BIND is {self.bind}: whoever reaches the server can end it "
                "with a single request; leave GUARD on, or set ANYBODY_MAY_END_THIS_SERVER=yes"
            )
        return self

    @model_validator(mode="after")
    def _check_device(self) -> Self:
        if self.device == GPU and self.config == CPU_CONFIG:
            raise ValueError(
                f"DEVICE is gpu and CONFIG is {self.config!r}, whose instances compute on the "
                "processor: leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _check_config(self) -> Self:
        named = {path.stem for path in self.model_repository.glob("*/configs/*.pbtxt")}
        allowed = [PLAIN_CONFIG, *sorted(named | {CPU_CONFIG})]
        if self.config not in allowed:
            raise ValueError(
                f"CONFIG is {self.config!r}: no model has configs/{self.config}.pbtxt; "
                f"it has to be one of {', '.join(allowed)}"
            )
        return self
