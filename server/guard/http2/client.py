"""The client's end of an HTTP/2 connection, towards Triton."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from server.guard.http2.connection import Connection
from server.guard.http2.frames import (
    DEFAULT_WINDOW,
    MAX_STREAM_ID,
    PREFACE,
    ConnectionFault,
    ErrorCode,
    Setting,
    StreamFault,
    settings_frame,
    window_frame,
)
from server.guard.http2.headers import Header, HeaderDecoder
from server.guard.http2.limits import (
    MAX_BLOCK_BYTES,
    MAX_FRAME_BYTES,
    MAX_STREAMS,
    STREAM_WINDOW,
)
from server.guard.http2.stream import Stream

_CONNECTION_WINDOW = MAX_STREAMS * STREAM_WINDOW
"""So that no stream whose reader is slow takes the window of another one."""

Head = TypeVar("Head")


class ClientStream(Stream, Generic[Head]):
    """A stream that we opened."""

    __slots__ = ()

    def head_arrived(self, head: Head, end: bool) -> None:
        """Takes a header block: that of the answer, or the trailers if `end`."""
        raise NotImplementedError


class ClientConnection(Connection, Generic[Head]):
    """A connection to the server.

    Args:
        make_head: Makes of the fields of an answer what the streams take.
    """

    def __init__(self, make_head: Callable[[Sequence[Header]], Head]) -> None:
        super().__init__(_CONNECTION_WINDOW)
        self._decoder = HeaderDecoder(make_head, MAX_BLOCK_BYTES)
        self._next_stream = 1
        self._gone_away = False
        self.ready: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the preface and our settings."""
        super().connection_made(transport)
        settings = settings_frame(
            {
                # Then no block of the server depends on the blocks before it.
                Setting.HEADER_TABLE_SIZE: 0,
                Setting.ENABLE_PUSH: 0,
                Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
                Setting.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
                Setting.MAX_HEADER_LIST_SIZE: MAX_BLOCK_BYTES,
            }
        )
        window = window_frame(0, _CONNECTION_WINDOW - DEFAULT_WINDOW)
        self.write_control(PREFACE + settings + window)

    @property
    def takes_requests(self) -> bool:
        """Whether new streams may be opened on it."""
        return (
            self._settings_seen
            and not self._gone_away
            and not self._closing
            and self._next_stream < MAX_STREAM_ID
        )

    def next_stream(self) -> int:
        """Takes the number of a new stream."""
        number = self._next_stream
        self._next_stream += 2
        return number

    def retire(self) -> None:
        """Opens no further streams, and closes once those that are open have ended."""
        self._gone_away = True
        if not self.streams:
            self.close()

    def spend(self, cost: int = 1) -> None:
        """Lets the server do as it likes: it is ours."""

    def block_arrived(self, number: int, block: bytes, end: bool) -> None:
        """Hands a header block to its stream."""
        head = self._decoder.decode(block)
        stream = self.streams.get(number)
        if stream is None:
            if self.is_idle(number):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS of an idle stream")
            return
        if stream.remote_closed:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        if end:
            stream.remote_closed = True
            if stream.local_closed:
                self.forget(stream)
        stream.head_arrived(head, end)  # type: ignore[attr-defined] # ours are ClientStreams

    def stream_of_data(self, number: int) -> Stream | None:
        """Finds the stream of a DATA frame."""
        stream = self.streams.get(number)
        if stream is None:
            if self.is_idle(number) or not number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA of an idle stream")
            return None
        if stream.remote_closed:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED)
        return stream

    def is_idle(self, number: int) -> bool:
        """Tells whether we have not opened that stream yet."""
        return not number & 1 or number >= self._next_stream

    def went_away(self, last_stream: int) -> None:
        """Ends the streams that the server will not look at."""
        self._gone_away = True
        for stream in [each for each in self.streams.values() if each.id > last_stream]:
            self.forget(stream)
            stream.stream_lost(ErrorCode.REFUSED_STREAM, unprocessed=True)
        if not self.streams:
            self.close()

    def forget(self, stream: Stream) -> None:
        """Drops a stream."""
        super().forget(stream)
        if self._gone_away and not self.streams:
            self.close()

    def ended(self) -> None:
        """Lets go who waits for the connection."""
        if not self.ready.done():
            self.ready.set_result(None)

    def _apply(self, announced: dict[int, int]) -> None:
        super()._apply(announced)
        if not self.ready.done():
            self.ready.set_result(None)
