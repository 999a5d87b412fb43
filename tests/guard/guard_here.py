"""A guard in the process of the test, whose objects can be counted."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

from loadtests.fuzz.guarded import GuardedServer
from server.guard.admission import Admission, Place
from server.guard.descriptions import Descriptions
from server.guard.grpc.heads import RequestHead
from server.guard.grpc.server import serve_grpc
from server.guard.http import upstream
from server.guard.http.body import Body
from server.guard.http.connection import ClientConnection
from server.guard.http.reader import Request
from server.guard.http.server import HttpServer
from server.guard.http2.connection import Connection
from server.guard.http2.stream import Stream
from server.guard.leave import Leave
from server.guard.metrics import Metrics
from server.guard.quarantine import Quarantine
from server.guard.refusal import Refusal
from server.guard.settings import GuardSettings, address_of

OF_REQUESTS = (
    *(ClientConnection, upstream.UpstreamConnection, Connection, Request, Body, Stream),
    *(RequestHead, Place, Leave, Refusal, TracebackType),
)
"""What is there for a request, a call or a connection, and has to go with it."""


class GuardHere(GuardedServer):
    """Where a guard in this process listens, for who sends fuzzed requests.

    Args:
        behind: What it stands in front of.
    """

    def __init__(self, behind: GuardedServer) -> None:
        self._behind = behind
        self.http_port = self.grpc_port = 0

    @property
    def http_url(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def metrics_url(self) -> str:
        return self._behind.metrics_url


@asynccontextmanager
async def guard_here(behind: GuardedServer, folder: Path) -> AsyncIterator[GuardHere]:
    """Runs a guard in this process.

    Args:
        behind: What it stands in front of.
        folder: An empty folder for its quarantine.
    """
    settings = GuardSettings(
        http_port=0,
        grpc_port=0,
        upstream_http=behind.http_url,
        upstream_grpc=behind.grpc_url,
        model_repository=behind.triton.settings.model_repository,
    )
    address = address_of(settings.upstream_http)
    admission = Admission(settings.batches_ahead, settings.max_queue)
    metrics = Metrics(admission)
    descriptions = Descriptions(lambda path: upstream.get(address, path), settings.model_repository)
    quarantine = Quarantine(folder)
    http = HttpServer(settings, descriptions, admission, quarantine, metrics)
    here = GuardHere(behind)
    here.http_port = await http.start()
    grpc = await serve_grpc(settings, descriptions, admission, quarantine, metrics)
    here.grpc_port = grpc.port
    try:
        yield here
    finally:
        await http.stop(1)
        await grpc.stop(1)
        quarantine.close()


def objects_of_requests() -> Counter[str]:
    """Counts what this process has of `OF_REQUESTS`, but for what only cycles hold."""
    gc.collect()
    found = (each for each in gc.get_objects() if isinstance(each, OF_REQUESTS))
    return Counter(type(each).__name__ for each in found)
