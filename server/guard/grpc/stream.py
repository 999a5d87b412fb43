"""ModelStreamInfer: any number of requests and answers, each request checked by itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from server.guard.grpc.admitted import Admitted, admit, read
from server.guard.grpc.call import Call
from server.guard.grpc.heads import FINISHED, RequestHead
from server.guard.grpc.in_flight import InFlight
from server.guard.grpc.messages import MessageReader, with_prefix
from server.guard.grpc.methods import Method
from server.guard.grpc.protobuf import service_pb2
from server.guard.grpc.status import ANSWER_HEAD
from server.guard.http2.limits import STREAM_WINDOW
from server.guard.refusal import GrpcCode, Refusal, busy, exhausted, invalid, server_died

MAX_IN_FLIGHT = 64
"""Requests of one stream that Triton has at once; the others wait."""
_WANT_EMPTY = "triton_enable_empty_final_response"
_Answer = service_pb2.ModelStreamInferResponse


class StreamCall(Call):
    """A stream of requests.

    A refused request is answered within the stream, as Triton does it, and the stream goes on.
    Triton is asked to mark the last answer of decoupled models, so that it is known which
    requests it has; answers that only carry the mark reach only callers who asked for them.
    """

    __slots__ = (
        "_answers",
        "_ended",
        "_flow",
        "_in_flight",
        "_reader",
        "_room",
        "_stopping",
        "_tokens",
        "_tokens_at",
    )

    def __init__(self, connection: Any, number: int, head: RequestHead, method: Method) -> None:
        super().__init__(connection, number, head, method)
        self._reader = MessageReader(head.encoding, method.max_bytes, method.limit)
        self._answers = MessageReader("identity", 1 << 31, "2 GiB")
        self._in_flight = InFlight()
        self._flow = 0
        self._ended = False
        self._stopping = False
        self._room: asyncio.Future[None] | None = None
        self._tokens = float(self._service.settings.max_stream_rate)
        self._tokens_at = connection.heard_at

    # From the client.

    def data_arrived(self, data: bytes, flow: int, end: bool) -> None:
        """Gathers messages, and works through them in their order."""
        if self.done:
            self.connection.give_back(self, flow)
            return
        self._flow += flow
        self._ended |= end
        self.moved_at = self.connection.heard_at
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        if self._task is None or self._task.done():
            self.run(self._work())
        else:
            self._give_back()

    def is_slow(self) -> bool:
        """Whether the rest of a request, or the reading of an answer, is due."""
        return self.waiting is not None or (len(self._reader) > 0 and not self._reader.whole())

    def drain(self) -> None:
        """Takes no further request; the stream ends once those under way are answered."""
        self._stopping = True
        if self._task is None or self._task.done():
            self.run(self._work())

    async def _work(self) -> None:
        while self._reader.whole() and not self._stopping:
            await self._pace()
            while self.waiting_bytes > STREAM_WINDOW and not self.done:
                await self._wait_for_room()  # the client does not read its answers
            message = self._reader.take()
            await self._pass_on(message)
            if self.done:
                return
        self._give_back()
        if self.done:
            return
        if self._ended and not self._reader.whole():
            self._end()
        elif self._stopping:
            self._stop()

    async def _pass_on(self, message: bytes) -> None:
        request_id = ""
        try:
            since = time.perf_counter()
            request, inference = read(self._service, message)
            del message
            request_id = inference.id
            if self._head.stream_refused:
                raise exhausted(self._head.stream_refused)
            while len(self._in_flight) >= MAX_IN_FLIGHT and not self.done:
                await self._wait_for_room()
            admitted = await admit(self._service, inference, self.link, since)
        except Refusal as refusal:
            if refusal.http_status == 502:
                raise
            self._answer_refusal(refusal, request_id)
            return
        if self.done:  # the last wait ended together with the call
            admitted.unsent()
            return
        decoupled = admitted.description.decoupled
        in_flight = self._in_flight
        if in_flight.decoupled is not None and in_flight.decoupled is not decoupled:
            # Triton keeps the two kinds' answers apart, though a stream takes one write at a time.
            admitted.unsent()
            self._answer_refusal(_mixed(admitted), request_id)
            return
        in_flight.decoupled = decoupled
        if decoupled:
            wanted = request.parameters[_WANT_EMPTY]
            in_flight.wants_empty |= wanted.bool_param
            wanted.bool_param = True
        content = with_prefix(request.SerializeToString())
        up = self._up
        if up is None:
            upstream = self.link.ready()
            if upstream is None:
                admitted.unsent()
                raise server_died("the server closed the connection")
            up = self.open_upstream(upstream)
        in_flight.add(admitted)
        up.connection.send_data(up, content, end=False)
        while up.waiting is not None and not self.done:
            await self._wait_for_room()

    async def _pace(self) -> None:
        """Waits until the next message may come, if they come too fast."""
        rate = self._service.settings.max_stream_rate
        while True:
            now = self.connection.now()
            self._tokens = min(self._tokens + (now - self._tokens_at) * rate, float(rate))
            self._tokens_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await asyncio.sleep(0.01)

    async def _wait_for_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        await self._room

    def _give_back(self) -> None:
        """Lets the client send on, unless whole messages wait already."""
        if self._flow and not self._reader.whole():
            flow, self._flow = self._flow, 0
            self.connection.give_back(self, flow)
        self.kept()

    def _end(self) -> None:
        if len(self._reader):
            self.refuse(Refusal("a message is cut off", 400, GrpcCode.INVALID_ARGUMENT, "invalid"))
        elif self._up is not None:
            if not (self._up.local_closed or self._up.ends):
                self._up.connection.send_data(self._up, b"", end=True)
        else:
            self._begin()
            self._finish()
            self.connection.send_trailers(self, FINISHED)

    def _stop(self) -> None:
        complete = self._ended and not self._reader.whole()
        if not self._in_flight and not complete:
            self.refuse(busy("the server stops: begin the stream anew"))

    # From Triton.

    def answer_data(self, data: bytes, flow: int) -> None:
        """Passes on the answers that are whole."""
        self._unpaid += flow
        answers = self._answers
        answers.feed(data)
        while answers.whole():
            answer = answers.take()
            if self._in_flight.settle(answer):
                self.connection.send_data(self, with_prefix(answer), end=False)
            if self.done:
                return
        self._let_answer_on()
        self._make_room()
        if self._stopping:
            self._stop()

    def data_left(self, length: int) -> None:  # noqa: ARG002 - it is all that counts
        """Lets Triton send more in place of what the client has got."""
        self.moved_at = self.connection.now()
        self._let_answer_on()
        self._make_room()

    def _let_answer_on(self) -> None:
        up = self._up
        if up is not None and self._unpaid and self.waiting_bytes < STREAM_WINDOW:
            paid, self._unpaid = self._unpaid, 0
            up.connection.give_back(up, paid)
        self.kept()

    def held_bytes(self) -> int:
        """How much is kept: messages in pieces, what Triton has, and what waits."""
        if self.done:
            return self.waiting_bytes
        parts = len(self._answers) + len(self._reader)
        return self.waiting_bytes + parts + self._in_flight.size

    def request_left(self) -> None:
        """Goes on once Triton has taken what was sent."""
        self._make_room()

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.connection.send_headers(self, ANSWER_HEAD, end=False)

    def _answer_refusal(self, refusal: Refusal, request_id: str) -> None:
        self._service.refused(refusal)
        answer = _Answer(error_message=refusal.message)
        answer.infer_response.id = request_id[:1024]
        self._begin()
        self.connection.send_data(self, with_prefix(answer.SerializeToString()), end=False)

    # How it ends.

    def answered(self) -> None:
        """Gives all places back: after Triton's trailers nothing follows."""
        for each in self._in_flight.take_all():
            each.answered()

    def abandoned(self) -> None:
        """Gives all places back, and what the client may send on its other calls."""
        flow, self._flow = self._flow, 0
        self.connection.give_back_connection(flow)
        for each in self._in_flight.take_all():
            each.abandoned()

    def hand_over(self) -> list[Admitted]:
        """Gives away the requests that Triton has not answered."""
        return self._in_flight.take_all()

    def unsent(self) -> None:
        """Gives all places back."""
        for each in self._in_flight.take_all():
            each.unsent()

    def server_died(self) -> Refusal:
        """Has the quarantine look at what Triton had."""
        return self._in_flight.server_died() or super().server_died()


def _mixed(admitted: Admitted) -> Refusal:
    kind = "a decoupled model" if admitted.description.decoupled else "no decoupled model"
    return invalid(
        f"model '{admitted.description.name}' is {kind}, unlike those before it in the stream: "
        "begin another stream for it"
    )
