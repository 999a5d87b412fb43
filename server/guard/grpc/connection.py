"""A client's connection: finds what each call is, and ends what does not move."""

from __future__ import annotations

import asyncio

from server.guard.grpc.call import Call
from server.guard.grpc.heads import RequestHead, read_request_head
from server.guard.grpc.methods import Kind
from server.guard.grpc.service import Service, UpstreamLink
from server.guard.grpc.status import encode_message, http_status, trailers_only
from server.guard.grpc.stream import StreamCall
from server.guard.grpc.unary import UnaryCall
from server.guard.http2.frames import PING, ErrorCode, StreamFault, frame, reset_frame
from server.guard.http2.server import ServerConnection
from server.guard.refusal import GrpcCode, Refusal, too_slow

HANDSHAKE_SECONDS = 10.0
PING_SECONDS = 60.0
"""A client that has calls and says nothing for so long is asked whether it is there."""
DEAD_SECONDS = 90.0
_SPARE = 64
"""Connections beyond the limit while idle ones are being closed for them."""


class GrpcConnection(ServerConnection[RequestHead]):
    """A connection to a client, with its own connection to Triton.

    Args:
        service: What all calls share.
        connections: Where it notes itself as long as it is open.
    """

    def __init__(self, service: Service, connections: set[GrpcConnection]) -> None:
        super().__init__(read_request_head)
        self._is_one_too_many = len(connections) >= service.settings.max_connections + _SPARE
        self.service = service
        self.link = UpstreamLink(service)
        self._connections = connections
        self._opened_at = self.now()
        self._busy_at = self._opened_at
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends our settings, or closes if there are too many connections already."""
        super().connection_made(transport)
        if self._is_one_too_many:
            self.fail(ErrorCode.ENHANCE_YOUR_CALM, "too many connections")

    def request_arrived(self, number: int, head: RequestHead, end: bool) -> None:
        """Begins a call, or refuses it at once."""
        if head.malformed:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
        if head.status:
            self._answer_at_once(number, http_status(head.status), end)
            return
        if head.refusal is not None:
            self._refuse_at_once(number, head.refusal, end)
            return
        try:
            method = self.service.methods.find(head.path)
            call: Call
            if method.kind is Kind.STREAM:
                self._check_streams()
                call = StreamCall(self, number, head, method)
            else:
                call = UnaryCall(self, number, head, method)
        except Refusal as refusal:
            self._refuse_at_once(number, refusal, end)
            return
        self.streams[number] = call
        if end:
            call.remote_closed = True
            call.data_arrived(b"", 0, True)

    def check(self, now: float) -> None:
        """Ends what waits in vain for the client; called every few seconds."""
        settings = self.service.settings
        if not self.is_ready:
            if now - self._opened_at > HANDSHAKE_SECONDS:
                self.abort()
            return
        if self.streams:
            self._busy_at = now
            silent = now - self.heard_at
            if silent > DEAD_SECONDS:
                self.abort()
                return
            if silent > PING_SECONDS and self._asked_at < self.heard_at:
                self._asked_at = now
                self.write_control(frame(PING, 0, 0, b"alive?\0\0"))
        elif now - self._busy_at > settings.idle_timeout:
            self.drain()
            return
        for stream in list(self.streams.values()):
            assert isinstance(stream, Call)  # noqa: S101 - request_arrived makes no others
            if now - stream.moved_at > settings.read_timeout and stream.is_slow():
                stream.refuse(
                    too_slow(f"nothing came or was read for {settings.read_timeout} seconds")
                )

    def drain(self) -> None:
        """Takes no more calls, and ends once those under way are answered."""
        super().drain()
        for stream in list(self.streams.values()):
            if isinstance(stream, StreamCall):
                stream.drain()

    def ended(self) -> None:
        """Lets go of the connection to Triton."""
        self._connections.discard(self)
        self.link.retire()

    def idle_since(self) -> float | None:
        """Since when it has no calls; None if it has some."""
        return None if self.streams else self.heard_at

    def _check_streams(self) -> None:
        limit = self.service.settings.max_streams
        open_streams = sum(isinstance(each, StreamCall) for each in self.streams.values())
        if open_streams >= limit:
            raise Refusal(
                f"the connection has {limit} streams open already (MAX_STREAMS)",
                503,
                GrpcCode.RESOURCE_EXHAUSTED,
                "busy",
            )

    def _refuse_at_once(self, number: int, refusal: Refusal, end: bool) -> None:
        self.service.refused(refusal)
        block = trailers_only(refusal.grpc_code, encode_message(refusal.message))
        self._answer_at_once(number, block, end)

    def _answer_at_once(self, number: int, block: bytes, end: bool) -> None:
        """Answers with one header block and keeps no stream."""
        self._write_headers(number, block, True)
        if not end:
            self._reset_by_us.append(number)
            self.write_control(reset_frame(number, ErrorCode.NO_ERROR))
