"""The HTTP service: serves each request that a connection has read."""

from __future__ import annotations

import asyncio
import logging
import time

from server.guard.admission import Admission
from server.guard.checks.request import check_inference
from server.guard.descriptions import Descriptions
from server.guard.http import upstream as http_upstream
from server.guard.http.body import Body, BodyMemory
from server.guard.http.connection import ClientConnection
from server.guard.http.generate import read_generate
from server.guard.http.head import KnownHeads
from server.guard.http.inference import ReadRequest, as_binary, read_infer
from server.guard.http.json_body import read_object, write
from server.guard.http.reader import Request
from server.guard.http.routes import Call, Routes
from server.guard.http.upstream import UpstreamConnection, UpstreamEndedError
from server.guard.inference import Inference
from server.guard.leave import Leave
from server.guard.metrics import Metrics
from server.guard.quarantine import Quarantine
from server.guard.refusal import Refusal, failed, server_died
from server.guard.settings import GuardSettings, address_of

_SWEEP_SECONDS = 1.0
_SETTLE_SECONDS = 0.05
"""So long a connection may have a request in the kernel before it counts as idle."""
_ARRIVING_SECONDS = 5.0
"""So long a guard that stops waits for the rest of a request."""
_log = logging.getLogger(__name__)


class HttpServer:
    """Everything that the connections share.

    Args:
        settings: The limits, and which calls are open.
        descriptions: What Triton serves.
        admission: The places of each model.
        quarantine: The requests that end servers.
        metrics: What is counted.
    """

    def __init__(
        self,
        settings: GuardSettings,
        descriptions: Descriptions,
        admission: Admission,
        quarantine: Quarantine,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self.routes = Routes(settings)
        self.known_heads = KnownHeads()
        self.memory = BodyMemory(settings.max_bodies, self._make_room)
        self.metrics = metrics
        self.draining = False
        self._descriptions = descriptions
        self._admission = admission
        self._quarantine = quarantine
        self._upstream = address_of(settings.upstream_http)
        self._host = f"Host: {self._upstream}\r\n".encode()
        self._connections: set[ClientConnection] = set()
        self._listener: asyncio.AbstractServer | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> int:
        """Listens.

        Returns:
            The port.

        Raises:
            OSError: The port is taken.
        """
        self._listener = await self.loop.create_server(
            lambda: ClientConnection(self),
            self.settings.bind,
            self.settings.http_port,
            backlog=1024,
        )
        self._sweep()
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def stop(self, seconds: float) -> bool:
        """Takes no more, and finishes what is under way.

        Returns:
            Whether everything was finished in that time.
        """
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        await asyncio.sleep(_SETTLE_SECONDS)
        for connection in [each for each in self._connections if each.idle]:
            connection.close()
        now = start = self.loop.time()
        while self._under_way(arriving=now - start < _ARRIVING_SECONDS) and now - start < seconds:
            await asyncio.sleep(_SETTLE_SECONDS)
            now = self.loop.time()
        if self._sweeper is not None:
            self._sweeper.cancel()
        finished = not self._under_way(arriving=False)
        for connection in list(self._connections):
            connection.abort()
        return finished

    def _under_way(self, *, arriving: bool) -> bool:
        """Whether requests are under way, those too that have begun to arrive if so asked."""
        return any(each.busy or (arriving and each.arriving) for each in self._connections)

    def opened(self, connection: ClientConnection) -> None:
        """Counts a connection in; the one that is idle for longest makes room."""
        if len(self._connections) >= self.settings.max_connections:
            idle = [each for each in self._connections if each.idle]
            (min(idle, key=lambda each: each.times.since) if idle else connection).abort()
        self._connections.add(connection)

    def closed(self, connection: ClientConnection) -> None:
        """Counts a connection out."""
        self._connections.discard(connection)

    def _make_room(self, body: Body) -> bool:
        """Ends the request whose body has been arriving for longest; false if it is this one."""
        arriving = [each for each in self._connections if each.arriving_body is not None]
        oldest = min(arriving, key=lambda each: each.times.since, default=None)
        if oldest is None or oldest.arriving_body is body:
            return False
        oldest.refuse_and_close(self.memory.full())
        return True

    async def serve(self, connection: ClientConnection, request: Request) -> None:
        """Checks a request, passes it on, and has it answered whatever happens."""
        try:
            await self._serve(connection, request)
        except Refusal as refusal:
            connection.refuse(refusal)
        except asyncio.CancelledError:
            self.metrics.refused("http", "hung_up")
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("a request could not be served")
            connection.refuse(failed())
        finally:
            connection.finished()

    async def _serve(self, connection: ClientConnection, request: Request) -> None:
        start = time.perf_counter()
        route = request.route
        assert route is not None  # noqa: S101 - else it is refused
        if route.call is Call.NOTHING:
            await self._pass_on(connection, request, ReadRequest(_NONE, None))
        elif route.call is Call.SETTINGS:
            body = await request.body.read()
            content = read_object(body, self.settings.max_body) if body else {}
            await self._pass_on(connection, request, ReadRequest(_NONE, content))
        else:
            await self._infer(connection, request, start)

    async def _infer(self, connection: ClientConnection, request: Request, start: float) -> None:
        route = request.route
        assert route is not None  # noqa: S101 - else it is refused
        model, version = route.model, route.version
        description = self._descriptions.fresh(model, version)
        if description is None:
            description = await self._descriptions.find(model, version)
        body = await request.body.read()
        if route.call is Call.INFER:
            read = read_infer(body, request.head.json_bytes, model, version, self.settings)
        else:
            read = read_generate(body, description, version, self.settings)
        inference = check_inference(read.inference, description)
        if route.call is Call.INFER:
            read = as_binary(read, inference)
        checked = time.perf_counter() - start
        connection.waiting = True
        place = await self._admission.enter(description, read.inference)
        try:
            await self._reach(connection)  # nobody else is to wait for that with a suspect
            leave = await self._quarantine.admit(read.inference)
            connection.waiting = False
            connection.streams = route.call is not Call.INFER
            with leave:
                self.metrics.passed("http", checked)
                await self._pass_on(connection, request, read, leave)
        finally:
            place.leave()

    async def _pass_on(
        self,
        connection: ClientConnection,
        request: Request,
        read: ReadRequest,
        leave: Leave | None = None,
    ) -> None:
        """Sends a request to Triton and passes the answer on."""
        json = b"" if read.content is None else write(read.content)
        upstream = await self._reach(connection)
        connection.sent = True
        try:
            await upstream.ask(
                self._head(request, len(json), len(read.binary)),
                (json, read.binary) if read.binary else (json,),
                connection,
                unchunk=request.old,
            )
        except UpstreamEndedError as error:
            if leave is None:
                raise server_died(str(error)) from None
            raise self._quarantine.server_died(read.inference, leave) from None

    async def _reach(self, connection: ClientConnection) -> UpstreamConnection:
        upstream = connection.upstream
        if upstream is None or not upstream.usable:
            upstream = connection.upstream = await http_upstream.connect(self._upstream)
        return upstream

    def _head(self, request: Request, json: int, binary: int) -> bytes:
        """The head that Triton gets, by the lengths of the two parts of the body."""
        assert request.route is not None  # noqa: S101 - else it is refused
        start = request.route.line + self._host + request.head.passed_on
        if binary:
            return (
                b"%bContent-Type: application/octet-stream\r\n"
                b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
            ) % (start, json, json + binary)
        if json:
            head = b"%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            return head % (start, json)
        return start + b"\r\n"

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.check_time(now)
        self._sweeper = self.loop.call_later(_SWEEP_SECONDS, self._sweep)


_NONE = Inference("", "", "", {}, ())
"""What a call has that infers nothing."""
