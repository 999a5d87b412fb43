"""One call of a client: passed on to Triton, answered by it or refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from server.guard.eager import run_eagerly
from server.guard.grpc.abandoned import AbandonedCall
from server.guard.grpc.heads import AnswerHead, RequestHead
from server.guard.grpc.methods import Method
from server.guard.grpc.status import encode_message, http_status, trailers, trailers_only
from server.guard.http.upstream import stub_is_gone
from server.guard.http2.client import ClientStream
from server.guard.http2.frames import ErrorCode
from server.guard.http2.stream import Stream
from server.guard.refusal import GrpcCode, Refusal, server_died

if TYPE_CHECKING:
    from server.guard.grpc.admitted import Admitted
    from server.guard.grpc.connection import GrpcConnection
    from server.guard.grpc.service import Service, Upstream

_LOG = logging.getLogger(__name__)
_BAD_GATEWAY = 502


class UpstreamStream(ClientStream[AnswerHead]):
    """The stream to Triton of one call."""

    __slots__ = ("call",)

    def __init__(self, connection: Upstream, number: int) -> None:
        super().__init__(connection, number)
        self.call: Call | AbandonedCall

    def head_arrived(self, head: AnswerHead, end: bool) -> None:
        """Hands on a header block."""
        self.call.answer_head(head, end)

    def data_arrived(self, data: bytes, flow: int, end: bool) -> None:
        """Hands on a piece of the answer."""
        self.call.answer_data(data, flow)
        if end:
            self.call.answer_lost(ErrorCode.PROTOCOL_ERROR, unprocessed=False)

    def data_left(self, length: int) -> None:  # noqa: ARG002 - how much does not matter
        """Says that the request is on its way."""
        self.call.request_left()

    def stream_lost(self, code: ErrorCode | None, *, unprocessed: bool) -> None:
        """Says that there will be no more of the answer."""
        self.call.answer_lost(code, unprocessed=unprocessed)


class Call(Stream):
    """A call; the kinds of methods derive from it.

    Attributes:
        done: Whether its answer is complete, or nobody waits for it.
        moved_at: When something of it last came or went.
    """

    __slots__ = (
        "_begun",
        "_head",
        "_holds",
        "_method",
        "_service",
        "_task",
        "_timer",
        "_unpaid",
        "_up",
        "done",
        "link",
        "moved_at",
    )

    connection: GrpcConnection

    def __init__(
        self, connection: GrpcConnection, number: int, head: RequestHead, method: Method
    ) -> None:
        super().__init__(connection, number)
        self.link = connection.link
        self.moved_at = connection.heard_at
        self.done = False
        self._service: Service = connection.service
        self._head = head
        self._method = method
        self._begun = False
        self._holds = False
        self._unpaid = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._up: UpstreamStream | None = None
        if head.timeout is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(head.timeout, self._too_late)

    # What the kinds add.

    def is_slow(self) -> bool:
        """Whether it is the client that is being waited for."""
        raise NotImplementedError

    def answered(self) -> None:
        """Is told that Triton has answered."""

    def abandoned(self) -> None:
        """Is told that nobody waits for the answer any more."""

    def hand_over(self) -> list[Admitted]:
        """Gives away the requests that Triton has not answered."""
        return []

    def unsent(self) -> None:
        """Is told that Triton did not get the request."""

    def server_died(self) -> Refusal:
        """Is told that Triton ended before it had answered."""
        return server_died("the server ended while it had the call: ask another one")

    def request_left(self) -> None:
        """Is told that something of the request is on its way."""

    # Towards the client.

    def refuse(self, refusal: Refusal) -> None:
        """Ends it with a refusal."""
        if self.done and self.waiting is None:
            return
        self._finish()
        if self.waiting is not None:  # the client does not read, so it gets no words either
            self.connection.reset(self, ErrorCode.CANCEL)
            self._service.memory.release(self)
        elif self._begun:
            message = encode_message(refusal.message)
            self.connection.send_trailers(self, trailers(refusal.grpc_code, message))
        elif refusal.http_status == _BAD_GATEWAY:
            self.connection.send_headers(self, http_status(_BAD_GATEWAY), end=True)
        else:
            block = trailers_only(refusal.grpc_code, encode_message(refusal.message))
            self.connection.send_headers(self, block, end=True)
        self._service.refused(refusal)

    def stream_lost(self, code: ErrorCode | None, *, unprocessed: bool) -> None:  # noqa: ARG002
        """Cancels the call: the client is gone."""
        self._finish()
        self._service.memory.release(self)

    def data_left(self, length: int) -> None:
        """Lets Triton send more in place of what the client has got."""
        up = self._up
        if up is not None:
            self._unpaid -= length
            up.connection.give_back(up, length)
        if self.waiting_bytes or self._holds:
            self.moved_at = self.connection.now()
            self.kept()

    def kept(self) -> None:
        """Notes how much is kept."""
        held = self.held_bytes()
        self._holds = held > 0
        self._service.memory.hold(self, held)

    def held_bytes(self) -> int:
        """How much is kept: what waits for the client, and what the kinds add."""
        return self.waiting_bytes

    # Towards Triton.

    def open_upstream(self, upstream: Upstream) -> UpstreamStream:
        """Opens the stream to Triton and sends its header block."""
        up = UpstreamStream(upstream, upstream.next_stream())
        up.call = self
        upstream.streams[up.id] = up
        self._up = up
        upstream.send_headers(up, self._head.block, end=False)
        return up

    def answer_head(self, head: AnswerHead, end: bool) -> None:
        """Passes on a header block of Triton."""
        connection = self.connection
        if not end:
            if not self._begun:
                self._begun = True
                connection.send_headers(self, head.head, end=False)
            return
        if head.code and stub_is_gone(head.message.decode("latin-1")):
            self.refuse(self.server_died())
            return
        self.answered()
        self._finish()
        connection.allowance.earn()
        if self._begun:
            connection.send_trailers(self, head.end)
        else:
            connection.send_headers(self, head.only, end=True)

    def answer_data(self, data: bytes, flow: int) -> None:
        """Passes on a piece of Triton's answer."""
        up = self._up
        if up is None:
            return
        length = len(data)
        self._unpaid += length
        if flow > length:
            up.connection.give_back(up, flow - length)  # padding
        self.connection.send_data(self, data, end=False)
        if self.waiting_bytes:
            self.kept()

    def answer_lost(self, code: ErrorCode | None, *, unprocessed: bool) -> None:
        """Refuses the call whose answer will not come."""
        self._lose_upstream()
        if unprocessed:
            self.unsent()
            self.refuse(server_died("the server stops and takes no more calls"))
        elif code is None:
            self.refuse(self.server_died())
        else:
            self.answered()
            self.refuse(
                Refusal(f"Triton ended the call: {code.name}", 500, GrpcCode.UNAVAILABLE, "reset")
            )

    def _lose_upstream(self) -> None:
        """Lets the other calls use what this one still has of the connection's window."""
        up, self._up = self._up, None
        if up is not None and self._unpaid:
            up.connection.give_back(up, self._unpaid)
            self._unpaid = 0

    # Inside.

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something that may have to wait, as long as the call goes on."""
        self._task = run_eagerly(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:  # noqa: BLE001 - a fault of ours is no reason to leave a caller waiting
            _LOG.exception("the guard itself failed in %s", self._method.name)
            self.refuse(Refusal("the guard itself failed", 500, GrpcCode.UNAVAILABLE, "failed"))

    def _too_late(self) -> None:
        self.refuse(Refusal("Deadline Exceeded", 504, GrpcCode.DEADLINE_EXCEEDED, "deadline"))

    def _finish(self) -> None:
        """Lets go of everything but of an answer that waits for the client."""
        if self.done:
            return
        self.done = True
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()
        up = self._up
        self._lose_upstream()
        if up is not None and up.connection.streams.get(up.id) is up:
            if up.waiting is None:
                AbandonedCall(up, self.hand_over())
            else:  # Triton has not got the whole request
                up.connection.reset(up, ErrorCode.CANCEL)
        self.abandoned()
        if self._holds:
            self.kept()
