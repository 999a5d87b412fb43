"""One caller's connection: reads its requests, has them served in order, writes the answers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from server.guard.http_body import Body, body_too_large
from server.guard.http_head import MAX_HEAD, Head, head_too_large
from server.guard.http_routes import Route
from server.guard.http_upstream import UpstreamConnection
from server.guard.refusal import Refusal, busy, invalid, too_slow

if TYPE_CHECKING:
    from server.guard.http_server import HttpServer

_MAX_PIPELINED = 64
_MAX_PENDING = 64 << 10
"""Bytes behind a request under way that are read; the rest waits in the kernel."""
_LINGER_SECONDS = 2.0
"""How long a refused caller may go on sending before its connection is closed."""
_SLOWEST = 64 << 10
"""Bytes a second that a long body has to come with."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_log = logging.getLogger(__name__)


class Request:
    """A request that has arrived, or what is wrong with it."""

    __slots__ = ("body", "head", "keep_alive", "old", "refusal", "route")

    def __init__(self, head: Head, body: Body) -> None:
        self.head = head
        self.body = body
        self.route: Route | None = None
        self.refusal: Refusal | None = None
        self.keep_alive = False
        self.old = False  # HTTP/1.0


class ClientConnection(asyncio.Protocol):
    """One connection.

    Args:
        server: Whose connection it is.
    """

    def __init__(self, server: HttpServer) -> None:
        self.upstream: UpstreamConnection | None = None
        self.waiting = False  # for a place at its model
        self.sent = False  # the request is with Triton
        self.streams = False  # closing the connection to Triton ends the request there
        self.ended = False  # the caller sends no more
        self._server = server
        self._loop = server.loop
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._request: Request | None = None  # the one that arrives
        self._serving: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._pipelined: deque[Request] = deque()
        self._pending = b""
        self._head_bytes = 0
        self._received = 0  # bytes of the request that arrives
        self._since = self._loop.time()
        self._used = False
        self._began = False  # the answer
        self._deaf = False  # reads no more, for it closes
        self._stalled: tuple[int, float] = (0, 0.0)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport  # type: ignore[assignment] # it is one
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Drops what nobody waits for any more."""
        self._server.closed(self)
        self.ended = True
        self._transport = None
        for request in (self._request, *self._pipelined):
            if request is not None:
                request.body.release()
        self._request = None
        self._pipelined.clear()
        if self._task is None:
            self._close_upstream()
        elif not self.sent:
            self._task.cancel()
        elif self.streams:
            self._close_upstream()  # else Triton computes on: its place stays taken until then

    def eof_received(self) -> bool:
        """Notes that the caller sends no more; one whose request waits has hung up."""
        self.ended = True
        if self._task is None:
            return False
        if self.waiting:
            self._task.cancel()
            return False
        return True

    def data_received(self, data: bytes) -> None:
        """Reads what arrived, or keeps it until the request before it is answered."""
        if self._deaf:
            return
        if self._task is None:
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

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self._pipelined) >= _MAX_PIPELINED:
            raise busy(f"more than {_MAX_PIPELINED} requests behind each other: wait for answers")
        settings = self._server.settings
        self._request = Request(
            Head(), Body(self._server.memory, settings.max_body, settings.max_chunks)
        )
        self._since = self._loop.time()
        self._head_bytes = self._received = 0
        self._used = True

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._arriving().head.add_target(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind a body in chunks."""
        request = self._arriving()
        if request.route is not None or request.refusal is not None:
            raise invalid("trailers behind the body are not taken")
        request.head.add(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: what is wrong with it is known before the body comes."""
        request = self._arriving()
        head = request.head
        head.check()
        settings = self._server.settings
        if (head.content_length or 0) > settings.max_body:
            raise body_too_large(settings.max_body)
        if head.coding:
            request.body = Body(
                self._server.memory, settings.max_body, settings.max_chunks, head.coding
            )
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise invalid(f"HTTP/{version} is not spoken here, HTTP/1.1 is")
        request.old = version == "1.0"
        method = self._parser.get_method()
        # To HEAD an answer has no body, which a refusal has.
        plain = not request.old and method != b"HEAD"
        request.keep_alive = plain and self._parser.should_keep_alive()
        try:
            request.route = self._server.routes.find(method, head.target)
        except Refusal as refusal:
            if b"expect" in head.headers:
                raise
            request.refusal = refusal
        if b"expect" in head.headers and head.has_body and self._task is None:
            self._write(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._received += len(data)
        self._arriving().body.add(data)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._arriving().body.add_chunk()

    def on_message_complete(self) -> None:
        """The request is there."""
        request, self._request = self._arriving(), None
        if self._deaf:
            request.body.release()
        elif self._task is None:
            self._start(request)
        else:
            self._pipelined.append(request)

    # What the server calls.

    def begin(self, status: int, head: bytes) -> None:  # noqa: ARG002
        """Passes on the head of Triton's answer."""
        self._began = True
        if self._serving is not None and not self._keeps_open(self._serving):
            head += b"Connection: close\r\n"
        self._write(head + b"\r\n")

    def write(self, data: bytes) -> None:
        """Passes on a part of it."""
        self._write(data)

    def refuse(self, refusal: Refusal) -> None:
        """Answers with a refusal; where an answer has begun, it cannot be ended but by closing."""
        self._server.metrics.refused("http", refusal.reason)
        if self._began:
            self.abort()
            return
        self._began = True
        open_ = self._serving is not None and self._keeps_open(self._serving)
        self._write(_refusal_bytes(refusal, keep_alive=open_))

    def finished(self) -> None:
        """Ends the exchange; the next one may begin."""
        serving, self._serving, self._task = self._serving, None, None
        self.sent = self.streams = self.waiting = False
        if serving is not None:
            serving.body.release()
        if self._transport is None:
            self._close_upstream()
            return
        if serving is None or not self._keeps_open(serving):
            self.close()
            return
        self._since = self._loop.time()
        if self._pipelined:
            self._start(self._pipelined.popleft())
        elif self._pending:
            pending, self._pending = self._pending, b""
            if len(pending) > _MAX_PENDING:
                self._transport.resume_reading()
            self._feed(pending)

    @property
    def idle(self) -> bool:
        """Whether nothing of a request is there."""
        return self._task is None and self._request is None and not self._deaf

    @property
    def idle_since(self) -> float:
        """When the last request ended."""
        return self._since

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
        settings = self._server.settings
        if self._transport is None:
            return
        left = self._transport.get_write_buffer_size()
        if not left or left != self._stalled[0]:
            self._stalled = left, now
        elif now - self._stalled[1] > settings.read_timeout:
            self.abort()
            return
        age = now - self._since
        if self._deaf or self._task is not None:
            return
        if self._request is not None:
            if age > settings.read_timeout + self._received / _SLOWEST:
                self._refuse_and_close(
                    too_slow(
                        f"the request did not arrive within {settings.read_timeout} seconds "
                        "(READ_TIMEOUT)"
                    )
                )
        elif age > (settings.idle_timeout if self._used else settings.read_timeout):
            self.close()

    # The rest is its own.

    def _arriving(self) -> Request:
        assert self._request is not None  # noqa: S101 - between begin and complete
        return self._request

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._refuse_and_close(invalid("Upgrade is not offered here"))
            return
        except HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refusal):
                raise
            self._refuse_and_close(cause)
            return
        except HttpParserError as error:
            self._refuse_and_close(invalid(f"this is no valid HTTP/1.1: {error}"))
            return
        request = self._request
        if request is not None and request.route is None and request.refusal is None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                self._refuse_and_close(head_too_large())

    def _refuse_and_close(self, refusal: Refusal) -> None:
        """Refuses what cannot be read to its end; requests before it are answered first."""
        if self._deaf:
            return
        request, self._request = self._request or Request(Head(), self._no_body()), None
        request.refusal = refusal
        request.keep_alive = False
        self._deaf = True
        if self._task is None:
            self._start(request)
        else:
            self._pipelined.append(request)

    def _no_body(self) -> Body:
        return Body(self._server.memory, 0, 0)

    def _start(self, request: Request) -> None:
        self._serving = request
        self._began = False
        if request.refusal is not None:
            self.refuse(request.refusal)
            if self._deaf:
                self._linger()
            else:
                self.finished()
            return
        self._task = self._loop.create_task(self._server.serve(self, request))

    def _linger(self) -> None:
        """Closes when the caller has taken the answer, who may still be sending.

        A connection that is closed with bytes unread is reset, and the answer is lost with it.
        """
        self._close_upstream()
        if self._serving is not None:
            self._serving.body.release()
        transport = self._transport
        if transport is None:
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._loop.call_later(_LINGER_SECONDS, self.abort)

    def _keeps_open(self, request: Request) -> bool:
        return request.keep_alive and not self.ended and not self._server.draining

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close_upstream(self) -> None:
        upstream, self.upstream = self.upstream, None
        if upstream is not None:
            upstream.close()


def _refusal_bytes(refusal: Refusal, *, keep_alive: bool) -> bytes:
    body = orjson.dumps({"error": refusal.message})
    status = HTTPStatus(refusal.http_status)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{'' if keep_alive else 'Connection: close'}"
    )
    return f"{head}{'' if keep_alive else chr(13) + chr(10)}\r\n".encode() + body
