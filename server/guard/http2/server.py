"""The server's end of an HTTP/2 connection, without TLS and without an upgrade from HTTP/1.1."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from server.guard.http2.connection import Connection
from server.guard.http2.frames import (
    DEFAULT_WINDOW,
    PREFACE,
    ConnectionFault,
    ErrorCode,
    Setting,
    StreamFault,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from server.guard.http2.headers import Header, HeaderDecoder
from server.guard.http2.limits import (
    MAX_FRAME_BYTES,
    MAX_HEADER_LIST_BYTES,
    MAX_STREAMS,
    STREAM_WINDOW,
)
from server.guard.http2.stream import Stream

_CONNECTION_WINDOW = MAX_STREAMS * STREAM_WINDOW
"""So that no stream that is slow takes the window of another one."""
_REMEMBERED = 1024
"""Streams that we reset and that the peer may not know of yet."""

Head = TypeVar("Head")


class ServerConnection(Connection, Generic[Head]):
    """A connection to a client.

    Args:
        make_head: Makes of the fields of a request what `open_stream` takes.
    """

    def __init__(self, make_head: Callable[[Sequence[Header]], Head]) -> None:
        super().__init__(_CONNECTION_WINDOW)
        self._decoder = HeaderDecoder(make_head, MAX_HEADER_LIST_BYTES)
        self._preface_seen = False
        self._last_stream = 0
        self._draining = False
        self._reset_by_us: deque[int] = deque(maxlen=_REMEMBERED)

    def request_arrived(self, number: int, head: Head, end: bool) -> None:
        """Takes a request, of which `end` says whether it has no content, as a new stream."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends our settings."""
        super().connection_made(transport)
        settings = settings_frame(
            {
                Setting.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
                Setting.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
            }
        )
        self.write_control(settings + window_frame(0, _CONNECTION_WINDOW - DEFAULT_WINDOW))

    @property
    def is_ready(self) -> bool:
        """Whether the client has spoken HTTP/2."""
        return self._settings_seen

    def drain(self) -> None:
        """Takes no more requests and closes once those under way are answered."""
        if not self._draining and not self._closing and self.transport is not None:
            self._draining = True
            self._write(goaway_frame(self._last_stream, ErrorCode.NO_ERROR, "closing"))
            self._close_if_drained()

    def last_peer_stream(self) -> int:
        """The highest stream of the client that was looked at."""
        return self._last_stream

    def forget(self, stream: Stream) -> None:
        """Drops a stream."""
        super().forget(stream)
        if self._draining:
            self._close_if_drained()

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Ends a stream at once."""
        self._reset_by_us.append(stream.id)
        super().reset(stream, code)

    def block_arrived(self, number: int, block: bytes, end: bool) -> None:
        """Opens a stream, or ends the client's side of one with trailers."""
        if not self._draining and number > self._last_stream and number & 1:
            head = self._decoder.decode(block)
            self._last_stream = number
            if len(self.streams) >= MAX_STREAMS:
                self.spend()
                self._reset_by_us.append(number)
                self.write_control(reset_frame(number, ErrorCode.REFUSED_STREAM))
                return
            self.request_arrived(number, head, end)
            return
        self._decoder.decode(block)  # for the dynamic table, which later blocks refer to
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients' streams have odd numbers")
        self.spend()
        stream_of_trailers = self.streams.get(number)
        if stream_of_trailers is None:
            if number <= self._last_stream and number not in self._reset_by_us:
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS of a closed stream")
            return  # while we drain, or it was reset: the client does not know yet
        if stream_of_trailers.remote_closed:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        if not end:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
        stream_of_trailers.remote_closed = True
        stream_of_trailers.data_arrived(b"", 0, True)

    def stream_of_data(self, number: int) -> Stream | None:
        """Finds the stream of a DATA frame."""
        stream = self.streams.get(number)
        if stream is not None:
            if stream.remote_closed:
                raise StreamFault(number, ErrorCode.STREAM_CLOSED)
            return stream
        if self._draining and number > self._last_stream:
            return None
        if self.is_idle(number) or not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA of an idle stream")
        if number not in self._reset_by_us:
            self._reset_by_us.append(number)
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        return None

    def is_idle(self, number: int) -> bool:
        """Tells whether the client has not opened that stream yet."""
        return not number & 1 or (number > self._last_stream and not self._draining)

    def went_away(self, last_stream: int) -> None:
        """Lets a client that is leaving have its answers."""

    def _take_frames(self, data: bytes) -> bytes:
        if not self._preface_seen:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this port speaks gRPC")
            if len(data) < len(PREFACE):
                return data
            self._preface_seen = True
            data = data[len(PREFACE) :]
        return super()._take_frames(data)

    def _close_local(self, stream: Stream) -> None:
        """Ends our side; a request that was not sent to its end is of no more use."""
        stream.local_closed = True
        if stream.remote_closed:
            self.forget(stream)
        else:
            self.reset(stream, ErrorCode.NO_ERROR)

    def _close_if_drained(self) -> None:
        if not self.streams:
            self.close()
