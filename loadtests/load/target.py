"""The server that is put under load."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import psutil

from build import model_config
from build.releases import onnxruntime_of
from clients import GrpcClient, HttpClient, ModelNotFoundError, ServingError
from clients.address import Address
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.settings import Protocol
from server.triton import TritonServer

_TIMEOUT_SECONDS = 10
_OUR_BACKEND = "model.py"
"""What a server says of a model whose backend is written in Python."""
_ADVICE = "start a server with make serve, or leave URL out to have one started"


@dataclass(frozen=True)
class Target:
    """A running Triton; addresses are `host:port`."""

    http: str
    grpc: str
    metrics: str  # empty where the server is not Triton
    pid: int | None = None  # None where it runs elsewhere
    is_ours: bool = False  # whether it was started for the load test
    front_pid: int | None = None  # of a program that stands in front of it on this machine

    @classmethod
    def of(cls, server: TritonServer) -> Target:
        """A server of our own."""
        return cls(server.http_url, server.grpc_url, server.metrics_url, server.pid, True)

    @classmethod
    def other(cls, address: str, grpc: str, pid: int) -> Target:
        """A server other than Triton: it has no metrics to read and no config to ask for."""
        return cls(address, grpc, "", pid, True)

    @property
    def is_triton(self) -> bool:
        """Whether it can be asked for its metrics and configs."""
        return bool(self.metrics)

    @classmethod
    def at(cls, url: str, setting: str = "URL") -> Target:
        """A server that runs already, by the `host:port` of its HTTP service.

        Its gRPC and metrics are on the next two ports, as Triton's defaults are, unless
        TRITON_GRPC_URL and TRITON_METRICS_URL say otherwise.

        Raises:
            SettingsError: The setting, which is named, is not of this form.
        """
        http = _address(url, setting)
        return cls(
            http.netloc,
            _beside(http, 1, "TRITON_GRPC_URL", setting),
            _beside(http, 2, "TRITON_METRICS_URL", setting),
            _listener(http.port) if http.is_loopback else None,
        )

    def check(self, protocol: Protocol) -> None:
        """Asks whether the service that takes a protocol is there and ready.

        Raises:
            LoadTestError: It is not, or shared memory is closed where the protocol needs it.
        """
        client = GrpcClient if protocol.is_grpc else HttpClient
        try:
            with client(self.address(protocol), timeout=_TIMEOUT_SECONDS) as asked:
                asked.check_ready()
        except ServingError as error:
            variable = "TRITON_GRPC_URL" if protocol.is_grpc else "URL"
            advice = f"{variable} has to name Triton's {'gRPC' if protocol.is_grpc else 'HTTP'}"
            raise LoadTestError(f"{error.message}; {advice} service") from error
        if not protocol.is_grpc:
            self.server_version()  # others say yes to any question whether they are ready
        if protocol is Protocol.GRPC_SHM:
            try:
                self._get(self.http, "/v2/systemsharedmemory/status")
            except LoadTestError as error:
                raise LoadTestError(closed_shared_memory(str(error))) from error

    def address(self, protocol: Protocol) -> str:
        """`host:port` of the service that takes a protocol."""
        return self.grpc if protocol.is_grpc else self.http

    def config(self, model: str) -> dict[str, Any]:
        """The config that the server has of a model.

        Raises:
            LoadTestError: Nothing answers, it has no such model, or it is no Triton.
        """
        with self._read(f"/v2/models/{model}/config") as found:
            if found["name"] != model:
                raise KeyError
            return dict(found)

    def config_text(self, model: str) -> str:
        """The same as `config.pbtxt` would say it."""
        return model_config.to_text(model_config.from_json(self.config(model)))

    def version(self, model: str) -> str:
        """The newest version that is served of a model."""
        with self._read(f"/v2/models/{model}") as found:
            return str(max(found["versions"], key=int))

    def parts(self, model: str) -> list[str]:
        """The models that an ensemble is made of, in order; for any other only itself."""
        scheduling = self.config(model).get("ensemble_scheduling")
        return [step["model_name"] for step in scheduling["step"]] if scheduling else [model]

    def server_version(self) -> str:
        """Triton's own version."""
        with self._read("/v2") as found:
            return str(found["version"])

    def onnxruntime(self, model: str) -> str:
        """The version of ONNX Runtime that computes a model; empty where that is not known.

        NVIDIA's C++ backend has that of the server's release. Ours has the one that is pinned,
        as this process has.
        """
        if self.config(model).get("runtime") == _OUR_BACKEND:
            return installed_onnxruntime()
        return onnxruntime_of(self.server_version())

    def scrape(self) -> str:
        """The metrics, as text.

        Raises:
            LoadTestError: Nothing answers.
        """
        return self._get(self.metrics, "/metrics")

    @contextmanager
    def _read(self, path: str) -> Iterator[Any]:
        """The JSON of an answer; where a `with` block finds something else in it, it is wrong."""
        text = self._get(self.http, path)
        try:
            yield json.loads(text)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise LoadTestError(
                f"no Triton at {self.http}: {path} answered something else; {_ADVICE}"
            ) from error

    @staticmethod
    def _get(address: str, path: str) -> str:
        try:
            with HttpClient(address, timeout=_TIMEOUT_SECONDS) as client:
                return client.get(path).decode(errors="replace")
        except ModelNotFoundError as error:
            raise LoadTestError(f"no model for {path} at {address}: {error.message}") from error
        except ServingError as error:
            raise LoadTestError(f"{error.message}; {_ADVICE}") from error


def installed_onnxruntime() -> str:
    """The version of ONNX Runtime in this environment, whichever build of it is installed."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    raise LoadTestError("onnxruntime is not installed, which makes the expected answers")


def closed_shared_memory(why: str) -> str:
    """What to do where the server does not take shared memory, in one line."""
    return f"shared memory is closed: set SHARED_MEMORY=on where the server is started ({why})"


def _address(url: str, setting: str) -> Address:
    try:
        address = Address.parse(url)
    except ValueError as error:
        raise SettingsError(f"{setting}: {error}") from error
    if address.tls or address.path:
        raise SettingsError(
            f"{setting} is {url!r}: it has to be host:port, without TLS and without a path"
        )
    return address


def _beside(http: Address, steps: int, variable: str, setting: str) -> str:
    """The address that a variable names, or of the service so many ports higher."""
    if named := os.environ.get(variable):
        return _address(named, variable).netloc
    try:
        return http.next(steps)
    except ValueError as error:
        raise SettingsError(f"{setting} is {http}: {error}, so set {variable}") from error


def _listener(port: int) -> int | None:
    """The process that listens on a port of this machine, where we may know it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    listening = (c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr)
    return next((c.pid for c in listening if c.laddr.port == port), None)
