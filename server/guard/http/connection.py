"""One caller's connection: has its requests served in their order, and writes the answers."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from typing import TYPE_CHECKING

from server.guard.eager import run_eagerly
from server.guard.http.answer import refusal_bytes
from server.guard.http.body import Body
from server.guard.http.head import Head
from server.guard.http.reader import Request, RequestReader
from server.guard.http.timeouts import Timeouts
from server.guard.http.upstream import UpstreamConnection
from server.guard.refusal import Refusal, busy, failed, too_slow

if TYPE_CHECKING:
    from server.guard.http.server import HttpServer

_MAX_PIPELINED = 64
_MAX_PENDING = 64 << 10
"""Bytes behind a request under way that are read; the rest waits in the kernel."""
_LINGER_SECONDS = 2.0
"""How long a refused caller may go on sending before its connection is closed."""
_ABANDONED_SECONDS = 0.5, 1.5
"""So long a stream without a caller may go on, at the least and at the most."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_log = logging.getLogger(__name__)


class ClientConnection(asyncio.Protocol):
    """One connection.

    Args:
        server: Whose connection it is.

    Attributes:
        upstream: The connection to Triton that serves it.
        waiting: Whether its request waits for a place at its model.
        sent: Whether Triton has its request.
        streams: Whether Triton ends the request when the connection to it is closed.
        times: When its last request began, and what takes too long.
    """

    def __init__(self, server: HttpServer) -> None:
        self.upstream: UpstreamConnection | None = None
        self.waiting = False
        self.sent = False
        self.streams = False
        self.times = Timeouts(server.settings, server.loop.time())
        self._server = server
        self._reader = RequestReader(server, self._arrived, self._go_on)
        self._transport: asyncio.Transport | None = None
        self._serving: Request | None = None
        self._task: asyncio.Task[None] | None = None  # of what is served, once it has to wait
        self._pipelined: deque[Request] = deque()
        self._pending = b""
        self._began = False  # the answer
        self._ended = False  # the caller sends no more
        self._deaf = False  # nothing more is read, for the connection closes

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport  # type: ignore[assignment] # it is one
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Drops what nobody waits for any more.

        A request that Triton has keeps its place until it is answered, since Triton computes it
        all the same. Only streams end there when the connection is closed, and those are given a
        while: a cancellation that meets an answer can end Triton before 24.12
        (https://github.com/triton-inference-server/server/pull/7840).
        """
        self._server.closed(self)
        self._ended = self._deaf = True
        self._transport = None
        self._drop_unserved()
        if self._serving is None or self._task is None:
            self._close_upstream()
        elif not self.sent:
            self._task.cancel()
        elif self.streams and self.upstream is not None:
            self.upstream.resume()
            after = random.uniform(*_ABANDONED_SECONDS)  # noqa: S311 - spread, not secret
            self._server.loop.call_later(after, self._close_upstream)

    def eof_received(self) -> bool:
        """Notes that the caller sends no more; one whose request waits has hung up."""
        self._ended = True
        if self.waiting and self._task is not None:
            self._task.cancel()
            return False
        return self._serving is not None

    def data_received(self, data: bytes) -> None:
        """Reads what arrived, or keeps it until the request before it is answered."""
        if self._deaf:
            return
        if self._serving is None:
            self._feed(data)
            return
        self._pending += data
        if len(self._pending) > _MAX_PENDING and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Reads no more of a stream that its caller does not take off."""
        if self.upstream is not None and self.streams:
            self.upstream.pause()

    def resume_writing(self) -> None:
        """Goes on."""
        if self.upstream is not None and self.streams:
            self.upstream.resume()

    # What the server calls.

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is there."""
        return self._serving is None and self._reader.arriving is None and not self._deaf

    @property
    def arriving(self) -> bool:
        """Whether a part of a request is there."""
        return self._reader.arriving is not None

    @property
    def arriving_body(self) -> Body | None:
        """The body that has come in part and takes memory; None if there is none."""
        request = self._reader.arriving
        if request is None or self._deaf or not self._reader.received:
            return None
        return request.body

    @property
    def busy(self) -> bool:
        """Whether a request is under way, or its answer not all sent."""
        unsent = self._transport is not None and self._transport.get_write_buffer_size() > 0
        return self._task is not None or bool(self._pipelined) or unsent

    def begin(self, data: bytes, head: int) -> None:
        """Passes on the beginning of Triton's answer."""
        self._began = True
        if self._serving is not None and not self._keeps_open(self._serving):
            data = b"%bConnection: close\r\n%b" % (data[:head], data[head:])
        self.write(data)

    def write(self, data: bytes) -> None:
        """Passes on a part of it."""
        if self._transport is not None:
            self._transport.write(data)

    def refuse(self, refusal: Refusal) -> None:
        """Answers with a refusal; where an answer has begun, it cannot be ended but by closing."""
        self._server.metrics.refused("http", refusal.reason)
        if self._began:
            self.abort()
            return
        self._began = True
        keeps_open = self._serving is not None and self._keeps_open(self._serving)
        self.write(refusal_bytes(refusal, keep_alive=keeps_open))

    def refuse_and_close(self, refusal: Refusal) -> None:
        """Refuses what cannot be read to its end; requests before it are answered first."""
        if self._deaf:
            return
        nothing = Request(Head(), Body(self._server.memory, 0, 0))
        request, self._reader.arriving = self._reader.arriving or nothing, None
        request.body.release()
        request.refusal = refusal
        request.keep_alive = False
        self._deaf = True
        if self._serving is None:
            self._start(request)
        else:
            self._pipelined.append(request)

    def finished(self) -> None:
        """Ends the exchange; the next one may begin."""
        serving, self._serving, self._task = self._serving, None, None
        self.sent = self.streams = self.waiting = False
        if serving is not None:
            serving.body.release()
        if self._transport is None:
            self._close_upstream()
        elif serving is None or not self._keeps_open(serving):
            self.close()
        elif self._pipelined:
            self._start(self._pipelined.popleft())
        elif self._pending:
            pending, self._pending = self._pending, b""
            if len(pending) > _MAX_PENDING:
                self._transport.resume_reading()
            self._feed(pending)
        self.times.since = self._server.loop.time()

    def close(self) -> None:
        """Closes the connection once what was written is sent."""
        self._deaf = True
        self._close_upstream()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def check_time(self, now: float) -> None:
        """Ends what takes too long: a request that does not arrive, an answer not taken off."""
        if self._transport is None:
            return
        if self.times.is_stalled(self._transport.get_write_buffer_size(), now):
            self.abort()
        elif self._deaf or self._serving is not None:
            return
        elif self._reader.arriving is None:
            if self.times.is_idle(now):
                self.close()
        elif self.times.is_late(self._reader.received, now):
            limit = f"{self._server.settings.read_timeout} seconds (READ_TIMEOUT)"
            self.refuse_and_close(too_slow(f"the request did not arrive within {limit}"))

    # The rest is its own.

    def _feed(self, data: bytes) -> None:
        if self._reader.arriving is None:
            self.times.request_begins(self._server.loop.time())
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self.refuse_and_close(refusal)
        except Exception:  # noqa: BLE001 - whatever it is, the caller gets an answer
            _log.exception("a request could not be read")
            self.refuse_and_close(failed())

    def _arrived(self, request: Request) -> None:
        if self._deaf:
            request.body.release()
        elif self._serving is None:
            self._start(request)
        elif len(self._pipelined) < _MAX_PIPELINED:
            self._pipelined.append(request)
        else:
            request.body.release()
            raise busy(f"more than {_MAX_PIPELINED} requests behind each other: wait for answers")

    def _go_on(self) -> None:
        if self._serving is None:
            self.write(_CONTINUE)

    def _start(self, request: Request) -> None:
        self._serving = request
        self._began = False
        if request.refusal is None:
            task = run_eagerly(self._server.serve(self, request))
            if task is not None:
                self._task = task
            return
        self.refuse(request.refusal)
        if self._deaf:
            self._linger(request)
        else:
            self.finished()

    def _linger(self, request: Request) -> None:
        """Closes when the caller has taken the answer, who may still be sending.

        A connection that is closed with bytes unread is reset, and the answer is lost with it.
        """
        request.body.release()
        self._close_upstream()
        if self._transport is not None:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._server.loop.call_later(_LINGER_SECONDS, self.abort)

    def _keeps_open(self, request: Request) -> bool:
        return request.keep_alive and not self._ended and not self._server.draining

    def _drop_unserved(self) -> None:
        for request in (self._reader.arriving, *self._pipelined):
            if request is not None:
                request.body.release()
        self._reader.arriving = None
        self._pipelined.clear()

    def _close_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.close()
