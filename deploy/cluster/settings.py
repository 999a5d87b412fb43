"""The cluster's settings, read from the environment and checked where they are written."""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from deploy.cluster.errors import ClusterError
from server.environment import EnvironmentSettings
from server.settings import Port

_MAX_SOCKET_PATH = 107


def _check(holds: Callable[[Any], bool], allowed: str) -> AfterValidator:
    def validate(value: Any) -> Any:
        if not holds(value):
            raise ValueError(allowed)
        return value

    return AfterValidator(validate)


def _is_ipv4(address: str) -> bool:
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    return True


_Seconds = Annotated[int, Field(ge=1, le=3600)]
_Path = Annotated[Path, AfterValidator(Path.expanduser)]
_Address = Annotated[str, _check(_is_ipv4, "an IPv4 address")]
_Folder = Annotated[_Path, _check(Path.is_dir, "a folder of models")]
_PemFile = Annotated[_Path, _check(Path.is_file, "a PEM file with the certificate and its key")]
_Url = Annotated[str, _check(re.compile(r"https?://|$").match, "an http(s) URL")]


class ClusterSettings(EnvironmentSettings):
    """How to run a cluster; each field is the environment variable of the same name.

    Attributes:
        replicas: Triton servers behind HAProxy.
        bind: IPv4 address that HAProxy listens on; the servers listen on loopback only.
        http_port: Port of HTTP over TLS; 0 chooses a free one, here and below.
        grpc_port: Port of gRPC over TLS.
        metrics_port: Port of HAProxy's own metrics, on loopback.
        rate_limit: Requests a key a second, above which 429 is answered.
        max_body_mib: Largest body of an inference request, in MiB.
        max_in_flight: Requests of one protocol that a server gets at the same time.
        max_waiting: Further requests of one protocol that wait in HAProxy; any beyond them
            are answered 503 at once.
        stream_limit: gRPC streams that a key may hold at a time; any beyond them are answered
            RESOURCE_EXHAUSTED.
        retry_body_kib: Largest request, with its header, that HAProxy keeps until it is answered,
            to give it to another server when one dies; in KiB.
        request_timeout: Seconds that a server may take for an answer, and for which a stream may
            be silent.
        run_dir: The private folder of certificates, keys, logs and state.
        tls_certificate: A PEM file with certificate and key; None makes one.
        model_repository: The folder of models, as `make build` fills it.
        config: As for the server; empty leaves the choice to it.
        start_timeout: Seconds that loading the models may take.
        exit_timeout: Seconds that requests under way get to finish at a stop.
        hang_timeout: Seconds after which a running server that does not answer is killed.
        trace_url: OTLP endpoint of the spans, such as `http://127.0.0.1:4318/v1/traces`;
            empty traces nothing.
    """

    error: ClassVar[type[Exception]] = ClusterError

    replicas: int = Field(default=2, ge=1, le=16)
    bind: _Address = "127.0.0.1"
    http_port: Port = 8000
    grpc_port: Port = 8001
    metrics_port: Port = 8002
    rate_limit: int = Field(default=1000, ge=1, le=1_000_000)
    max_body_mib: int = Field(default=16, ge=1, le=1024)
    max_in_flight: int = Field(default=32, ge=1, le=1024)
    max_waiting: int = Field(default=64, ge=1, le=10_000)
    stream_limit: int = Field(default=32, ge=1, le=10_000)
    retry_body_kib: int = Field(default=256, ge=16, le=16_384)
    request_timeout: _Seconds = 60
    run_dir: _Path = Path(".run/cluster")
    tls_certificate: _PemFile | None = None
    model_repository: _Folder = Path("model_repository")
    config: str = ""
    start_timeout: int = Field(default=300, ge=1, le=86400)
    exit_timeout: _Seconds = 20
    hang_timeout: _Seconds = 60
    trace_url: _Url = ""

    @model_validator(mode="after")
    def _socket_fits(self) -> Self:
        # HAProxy makes its socket under a longer name first, and the kernel has a limit.
        length = len(f"{self.run_dir.absolute()}/front.sock.{2**22}.tmp")
        if length > _MAX_SOCKET_PATH:
            raise ValueError(
                f"RUN_DIR is {str(self.run_dir)!r}: its full path has to be "
                f"{length - _MAX_SOCKET_PATH} characters shorter, or no socket fits into it"
            )
        return self
