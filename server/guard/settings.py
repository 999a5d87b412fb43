"""The guard's settings, read from the environment and checked where they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, field_validator

from server.environment import EnvironmentSettings
from server.settings import MAX_PORT, BindAddress, Port, Switch

KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20


class Address(NamedTuple):
    """Where a service listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _check_upstream(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", host) or not re.fullmatch(r"[0-9]{1,5}", port):
        raise ValueError("HOST:PORT, such as 127.0.0.1:8000")
    if not 0 < int(port) <= MAX_PORT:
        raise ValueError(f"HOST:PORT with a port from 1 to {MAX_PORT}")
    return address


Upstream = Annotated[str, AfterValidator(_check_upstream)]


class GuardSettings(EnvironmentSettings):
    """Where the guard listens, what it stands in front of, and what it lets through."""

    bind: BindAddress = "127.0.0.1"  # IPv4 address that all three services listen on
    http_port: Port = 8000  # 0 chooses a free one, here and below
    grpc_port: Port = 8001
    metrics_port: Port = 8002
    upstream_http: Upstream = "127.0.0.1:18000"  # Triton's own, here and below
    upstream_grpc: Upstream = "127.0.0.1:18001"
    upstream_metrics: Upstream = "127.0.0.1:18002"
    model_repository: Path = Path("model_repository")  # whose `model.toml` have the bounds
    upstream_pid: Annotated[int, Field(ge=0)] = 0  # Triton's process, where it runs here; or 0
    quarantine_dir: Path | None = None  # shared by the guards of one machine
    quarantine_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    exit_timeout: Annotated[int, Field(ge=1, le=3600)] = 20  # seconds for requests under way

    # What is closed unless switched on: who may call it can read or end the server.
    shared_memory: Switch = "off"  # registering regions, and tensors in them
    model_control: Literal["none", "explicit"] = "none"  # loading and unloading models
    trace_control: Switch = "off"  # reading and changing the trace settings
    log_control: Switch = "off"  # reading and changing the log settings

    # How long a request may be. Tensors that do not fit into the JSON come as binary data.
    max_json: Annotated[int, Field(ge=KIBIBYTE, le=64 * MEBIBYTE)] = MEBIBYTE  # bytes
    max_body: Annotated[int, Field(ge=KIBIBYTE, le=1 << 31)] = 64 * MEBIBYTE  # bytes, unpacked
    max_bodies: Annotated[int, Field(ge=KIBIBYTE, le=1 << 40)] = 512 * MEBIBYTE  # all together
    max_chunks: Annotated[int, Field(ge=1, le=1 << 20)] = 65_536  # of a chunked body
    max_stream_message: Annotated[int, Field(ge=KIBIBYTE, le=1 << 31)] = 16 * MEBIBYTE  # bytes
    max_stream_rate: Annotated[int, Field(ge=1, le=1 << 20)] = 2000  # messages a second of one
    max_streams: Annotated[int, Field(ge=1, le=256)] = 128  # bidirectional ones of a connection
    max_connections: Annotated[int, Field(ge=1, le=1 << 20)] = 4096  # of each protocol

    # Triton computes what nobody waits for any more, so the rest waits here.
    # Batches that Triton gets at once for each instance of a model.
    batches_ahead: Annotated[int, Field(ge=1, le=1000)] = 2
    max_queue: Annotated[int, Field(ge=1, le=1 << 20)] = 4096  # requests that wait for a model

    read_timeout: Annotated[int, Field(ge=1, le=3600)] = 60  # seconds for a request to arrive
    idle_timeout: Annotated[int, Field(ge=1, le=86400)] = 600  # seconds between two requests

    @field_validator("model_repository", "quarantine_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path and path.expanduser().absolute()


def address_of(upstream: str) -> Address:
    """Splits a setting of the form HOST:PORT."""
    host, _, port = upstream.rpartition(":")
    return Address(host, int(port))
