"""The server that is put under load."""

from __future__ import annotations

import http.client
import json
import os
from dataclasses import dataclass
from typing import Any

import psutil

from build import model_config
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.settings import Protocol
from server.triton import TritonServer

_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Target:
    """A running Triton; addresses are `host:port`."""

    http: str
    grpc: str
    metrics: str  # empty where the server is not Triton
    pid: int | None = None  # None where it runs elsewhere
    is_ours: bool = False  # whether it was started for the load test

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
        host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
        if not host or "/" in host or not port.isdigit():
            raise SettingsError(
                f"{setting} is {url!r}: it has to be host:port of Triton's HTTP service"
            )
        return cls(
            f"{host}:{port}",
            os.environ.get("TRITON_GRPC_URL") or f"{host}:{int(port) + 1}",
            os.environ.get("TRITON_METRICS_URL") or f"{host}:{int(port) + 2}",
            _listener(int(port)) if host in ("localhost", "127.0.0.1") else None,
        )

    def address(self, protocol: Protocol) -> str:
        """`host:port` of the service that takes a protocol."""
        return self.grpc if protocol.is_grpc else self.http

    def config(self, model: str) -> dict[str, Any]:
        """The config that the server has of a model.

        Raises:
            LoadTestError: Nothing answers, or it has no such model.
        """
        return self._ask(f"/v2/models/{model}/config")

    def config_text(self, model: str) -> str:
        """The same as `config.pbtxt` would say it."""
        return model_config.to_text(model_config.from_json(self.config(model)))

    def version(self, model: str) -> str:
        """The newest version that is served of a model."""
        versions: list[str] = self._ask(f"/v2/models/{model}")["versions"]
        return max(versions, key=int)

    def parts(self, model: str) -> list[str]:
        """The models that an ensemble is made of, in order; for any other only itself."""
        scheduling = self.config(model).get("ensemble_scheduling")
        return [step["model_name"] for step in scheduling["step"]] if scheduling else [model]

    def server_version(self) -> str:
        """Triton's own version."""
        return str(self._ask("/v2")["version"])

    def scrape(self) -> str:
        """The metrics, as text.

        Raises:
            LoadTestError: Nothing answers.
        """
        return self._get(self.metrics, "/metrics")

    def _ask(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._get(self.http, path))
        return found

    def _get(self, address: str, path: str) -> str:
        connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise LoadTestError(
                f"no answer from {address}: {why}; start a server with make serve, or leave URL "
                "out to have one started"
            ) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise LoadTestError(f"{address}{path} answered {response.status}: {text.strip()}")
        return text


def _listener(port: int) -> int | None:
    """The process that listens on a port of this machine, where we may know it."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return None
    listening = (c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr)
    return next((c.pid for c in listening if c.laddr.port == port), None)
