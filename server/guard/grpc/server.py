"""Listens for gRPC."""

from __future__ import annotations

import asyncio
import socket

from server.guard.admission import Admission
from server.guard.descriptions import Descriptions
from server.guard.grpc.connection import GrpcConnection
from server.guard.grpc.memory import Memory
from server.guard.grpc.methods import Methods
from server.guard.grpc.service import Service
from server.guard.metrics import Metrics
from server.guard.quarantine import Quarantine
from server.guard.settings import GuardSettings

_CHECK_SECONDS = 2.0
_POLL_SECONDS = 0.02
_BACKLOG = 1024


class GrpcServer:
    """The guard's gRPC service; `serve_grpc` makes it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections: set[GrpcConnection] = set()
        self._server: asyncio.Server | None = None
        self._checks: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._server is not None  # noqa: S101 - serve_grpc gives only what listens
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def listen(self) -> None:
        """Begins to listen."""
        settings = self._service.settings
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._connect,
            settings.bind,
            settings.grpc_port,
            family=socket.AF_INET,
            backlog=_BACKLOG,
        )
        self._checks = loop.create_task(self._check())

    async def stop(self, seconds: float) -> bool:
        """Takes no more connections and calls, and finishes those under way.

        Returns:
            Whether everything was finished in that time.
        """
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.drain()
        deadline = asyncio.get_running_loop().time() + seconds
        while self._connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL_SECONDS)
        finished = not self._connections
        if self._checks is not None:
            self._checks.cancel()
        for connection in list(self._connections):
            connection.abort()
        return finished

    def _connect(self) -> GrpcConnection:
        if len(self._connections) >= self._service.settings.max_connections:
            self._make_room()
        connection = GrpcConnection(self._service, self._connections)
        self._connections.add(connection)
        return connection

    def _make_room(self) -> None:
        """Ends the connection that has been idle for the longest time."""
        idle = [
            (since, connection)
            for connection in self._connections
            if (since := connection.idle_since()) is not None
        ]
        if idle:
            min(idle, key=lambda each: each[0])[1].drain()

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self._check_all(asyncio.get_running_loop().time())

    def _check_all(self, now: float) -> None:
        for connection in list(self._connections):
            connection.check(now)


async def serve_grpc(
    settings: GuardSettings,
    descriptions: Descriptions,
    admission: Admission,
    quarantine: Quarantine,
    metrics: Metrics,
) -> GrpcServer:
    """Listens for gRPC on BIND:GRPC_PORT.

    Args:
        settings: The guard's settings.
        descriptions: What Triton serves.
        admission: The places of each model.
        quarantine: Which requests ended servers.
        metrics: What the guard counts.
    """
    service = Service(
        settings=settings,
        descriptions=descriptions,
        quarantine=quarantine,
        methods=Methods(settings),
        memory=Memory(settings.max_bodies),
        admission=admission,
        metrics=metrics,
    )
    server = GrpcServer(service)
    await server.listen()
    return server
