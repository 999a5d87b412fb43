"""What all calls of one guard share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from server.guard.admission import Admission
from server.guard.descriptions import Descriptions
from server.guard.grpc.heads import AnswerHead, read_answer_head
from server.guard.grpc.memory import Memory
from server.guard.grpc.methods import Methods
from server.guard.http2.client import ClientConnection
from server.guard.metrics import Metrics
from server.guard.quarantine import Quarantine
from server.guard.refusal import Refusal, server_died
from server.guard.settings import GuardSettings, address_of

Upstream = ClientConnection[AnswerHead]

_CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Service:
    """What all calls of one guard share.

    Attributes:
        settings: The guard's settings.
        descriptions: What Triton serves.
        quarantine: Which requests ended servers.
        methods: What may be called.
        memory: What all calls keep together.
        admission: The places of each model.
        metrics: What the guard counts.
    """

    settings: GuardSettings
    descriptions: Descriptions
    quarantine: Quarantine
    methods: Methods
    memory: Memory
    admission: Admission
    metrics: Metrics

    def refused(self, refusal: Refusal) -> None:
        """Counts a refusal."""
        self.metrics.refused("grpc", refusal.reason)


class UpstreamLink:
    """The connection to Triton that belongs to one of a client; made when it is needed.

    So no client's slow reading, nor its number of calls, meets another's.

    Args:
        service: What knows where Triton is.
    """

    def __init__(self, service: Service) -> None:
        self._address = address_of(service.settings.upstream_grpc)
        self._connection: Upstream | None = None
        self._connecting: asyncio.Task[Upstream] | None = None
        self._retired = False

    def ready(self) -> Upstream | None:
        """The connection if it takes requests."""
        connection = self._connection
        return connection if connection is not None and connection.takes_requests else None

    async def reach(self) -> Upstream:
        """Connects, or waits for who does so already.

        Raises:
            Refusal: Triton cannot be reached; another server may be asked.
        """
        if (ready := self.ready()) is not None:
            return ready
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)

    def retire(self) -> None:
        """Closes the connection once what is under way on it has ended."""
        self._retired = True
        if self._connection is not None:
            self._connection.retire()

    def _connected(self, task: asyncio.Task[Upstream]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()
        # It is not cancelled by `retire`, for `wait_for` may pass over a cancellation before
        # Python 3.12, and the connection would then stay open for good.
        if self._retired:
            self.retire()

    async def _connect(self) -> Upstream:
        loop = asyncio.get_running_loop()
        host, port = self._address
        transport: asyncio.BaseTransport | None = None
        try:
            transport, connection = await asyncio.wait_for(
                loop.create_connection(lambda: ClientConnection(read_answer_head), host, port),
                _CONNECT_SECONDS,
            )
            await asyncio.wait_for(asyncio.shield(connection.ready), _CONNECT_SECONDS)
        except (OSError, asyncio.TimeoutError):
            if transport is not None:
                transport.close()
            raise server_died("the server cannot be reached") from None
        except asyncio.CancelledError:
            if transport is not None:
                transport.close()
            raise
        if not connection.takes_requests:
            raise server_died("the server closed the connection")
        self._connection = connection
        return connection
