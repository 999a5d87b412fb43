"""A call with one request and one answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from server.guard.grpc.admitted import Admitted, admit, read
from server.guard.grpc.call import Call
from server.guard.grpc.heads import RequestHead
from server.guard.grpc.messages import MessageReader, with_prefix
from server.guard.grpc.methods import Kind, Method
from server.guard.refusal import Refusal, server_died

if TYPE_CHECKING:
    from server.guard.grpc.connection import GrpcConnection

_BIG = 64 * 1024
"""Requests from this size on are counted as long as they are kept."""


class UnaryCall(Call):
    """A call of a method that takes one message."""

    __slots__ = ("_admitted", "_reader", "_size")

    def __init__(
        self,
        connection: GrpcConnection,
        number: int,
        head: RequestHead,
        method: Method,
    ) -> None:
        super().__init__(connection, number, head, method)
        self._reader = MessageReader(head.encoding, method.max_bytes, method.limit)
        self._admitted: Admitted | None = None
        self._size = 0

    def data_arrived(self, data: bytes, flow: int, end: bool) -> None:
        """Gathers the message, and goes on once it is whole."""
        if not self.done:
            try:
                if end:
                    self._take(self._reader.take_only(data))
                else:
                    self._reader.feed(data)
                    self.moved_at = self.connection.heard_at
                    self.kept()
            except Refusal as refusal:
                self.refuse(refusal)
        self.connection.give_back(self, flow)

    def is_slow(self) -> bool:
        """Whether the rest of the request, or the reading of the answer, is due."""
        return not self.remote_closed or self.waiting is not None

    def held_bytes(self) -> int:
        """How much is kept: of the request while it is not answered, and of the answer."""
        return self.waiting_bytes + (0 if self.done else len(self._reader) + self._size)

    def _take(self, message: bytes) -> None:
        if self._holds or len(message) >= _BIG:
            self._size = len(message)
            self.kept()
            if self.done:
                return
        self.run(
            self._infer(message) if self._method.kind is Kind.INFER else self._pass_on(message)
        )

    async def _infer(self, message: bytes) -> None:
        service = self._service
        since = time.perf_counter()
        request, inference = read(service, message)
        del message
        admitted = await admit(service, inference, self.link, since)
        self._admitted = admitted
        if self.done:  # the last wait ended together with the call
            admitted.unsent()
            return
        self._send(with_prefix(request.SerializeToString()))

    async def _pass_on(self, message: bytes) -> None:
        message = self._method.rewrite(message)
        await self.link.reach()
        self._send(with_prefix(message))

    def _send(self, content: bytes) -> None:
        upstream = self.link.ready()
        if upstream is None:
            self.unsent()
            raise server_died("the server closed the connection")
        up = self.open_upstream(upstream)
        upstream.send_data(up, content, end=True)

    def answered(self) -> None:
        """Gives the place back."""
        if self._admitted is not None:
            self._admitted.answered()

    def abandoned(self) -> None:
        """Gives the place back."""
        if self._admitted is not None:
            self._admitted.abandoned()
            self._admitted = None

    def hand_over(self) -> list[Admitted]:
        """Gives away the request."""
        admitted, self._admitted = self._admitted, None
        return [] if admitted is None else [admitted]

    def unsent(self) -> None:
        """Gives the place back."""
        if self._admitted is not None:
            self._admitted.unsent()

    def server_died(self) -> Refusal:
        """Has the quarantine look at what Triton had."""
        if self._admitted is not None:
            return self._admitted.server_died()
        return super().server_died()
