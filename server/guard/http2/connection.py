"""The receiving half of an HTTP/2 connection: takes frames apart and checks them (RFC 9113)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from server.guard.http2.control import ControlFrames
from server.guard.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEAD,
    HEAD_BYTES,
    MAX_STREAM_ID,
    PADDED,
    UINT32,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    goaway_frame,
    reset_frame,
    window_frame,
)
from server.guard.http2.limits import (
    MAX_BLOCK_BYTES,
    MAX_CONTINUATIONS,
    MAX_FRAME_BYTES,
)
from server.guard.http2.stream import Stream

_LOG = logging.getLogger(__name__)
_WRITE_BYTES = 256 * 1024
"""From here on of what the kernel does not take the peer counts as one that does not read."""
_LAST_WORDS_SECONDS = 5.0

_Handler = Callable[[int, int, bytes, int, int], None]


class Connection(ControlFrames, asyncio.Protocol):
    """One connection, either end of it; the roles derive from it.

    Args:
        window: Bytes that the peer may send on the whole connection before they are used up.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.heard_at = 0.0
        self._window = window
        self._receive_window = window
        self._owed = 0
        self._rest = b""
        self._closing = False
        self._block: bytearray | None = None  # of HEADERS that CONTINUATION goes on with
        self._block_stream = 0
        self._block_flags = 0
        self._continuations = 0
        self._handlers: tuple[_Handler, ...] = (
            self._data,
            self._headers,
            self._priority,
            self._rst_stream,
            self._settings,
            self._push_promise,
            self._ping,
            self._goaway,
            self._window_update,
            self._continuation,
        )

    # What the roles add.

    def block_arrived(self, number: int, block: bytes, end: bool) -> None:
        """Takes a whole header block of a stream."""
        raise NotImplementedError

    def stream_of_data(self, number: int) -> Stream | None:
        """Finds the stream of a DATA frame; None if it is one that ended a moment ago."""
        raise NotImplementedError

    def ended(self) -> None:
        """Is told that the connection is gone and all its streams with it."""
        raise NotImplementedError

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(_WRITE_BYTES)
        self.heard_at = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Goes through the frames that are whole and keeps the rest."""
        self.heard_at = self.now()
        if self._rest:
            data = self._rest + data
        try:
            self._rest = self._take_frames(data)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
        except Exception:  # noqa: BLE001 - a fault of ours leaves no connection half alive
            _LOG.exception("the guard itself failed on an HTTP/2 frame")
            self.fail(ErrorCode.INTERNAL_ERROR, "the guard failed")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Ends all streams."""
        self.transport = None
        self._closing = True
        self._rest = b""
        for stream in list(self.streams.values()):
            self.forget(stream)
            stream.stream_lost(None, unprocessed=False)
        self.ended()

    def eof_received(self) -> bool:
        """Closes: who has nothing more to say on HTTP/2 has gone."""
        return False

    # Ending.

    def fail(self, code: ErrorCode, message: str) -> None:
        """Ends the connection because of what the peer did."""
        if self.transport is not None:
            self._write(goaway_frame(self.last_peer_stream(), code, message))
            self.close()

    def close(self) -> None:
        """Ends the connection once what was written is on its way."""
        self.flush()
        transport, self.transport = self.transport, None
        self._closing = True
        if transport is not None:
            transport.close()
            # What waits for a peer that does not read must not hold the connection open.
            self._loop.call_later(_LAST_WORDS_SECONDS, transport.abort)

    def abort(self) -> None:
        """Ends the connection without a word."""
        transport, self.transport = self.transport, None
        self._closing = True
        if transport is not None:
            transport.abort()

    def last_peer_stream(self) -> int:
        """The highest stream of the peer that was looked at."""
        return 0

    def give_back_connection(self, length: int) -> None:
        """Lets the peer send so many bytes more on the connection."""
        self._owed += length
        if self._owed >= self._window // 2 and not self._closing:
            owed, self._owed = self._owed, 0
            self._receive_window += owed
            self.write_control(window_frame(0, owed))

    # Frames.

    def _take_frames(self, data: bytes) -> bytes:
        """Handles the frames that are whole.

        Returns:
            The rest.
        """
        position, end = 0, len(data)
        handlers, unpack = self._handlers, HEAD.unpack_from
        while end - position >= HEAD_BYTES:
            high, low, kind, flags, number = unpack(data, position)
            start = position + HEAD_BYTES
            stop = start + (high << 8 | low)
            if stop - start > MAX_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too long")
            if stop > end:
                break
            position = stop
            number &= MAX_STREAM_ID
            if self._awaited is not None:
                self._check_awaited(kind, number)
            try:
                if kind <= CONTINUATION:
                    handlers[kind](flags, number, data, start, stop)
                else:
                    self.spend()
            except StreamFault as fault:
                self._fault(fault)
            if self._closing:
                return b""
        return data[position:] if position else data

    def _check_awaited(self, kind: int, number: int) -> None:
        if kind != self._awaited:
            name = "CONTINUATION" if self._awaited == CONTINUATION else "SETTINGS"
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name} has to come now")
        if kind == CONTINUATION and number != self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of another stream")

    def _fault(self, fault: StreamFault) -> None:
        self.spend()
        stream = self.streams.get(fault.stream)
        if stream is None:
            self.write_control(reset_frame(fault.stream, fault.code))
        else:
            self.reset(stream, fault.code)
            stream.stream_lost(fault.code, unprocessed=False)

    def _data(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        flow = stop - start
        if flags & PADDED:
            start, stop = _without_padding(data, start, stop)
        self._receive_window -= flow
        if self._receive_window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the window")
        end = bool(flags & END_STREAM)
        if start == stop and not end:
            self.spend()
        stream = self.stream_of_data(number)
        if stream is None:
            self.give_back_connection(flow)
            self.spend()
            return
        stream.receive_window -= flow
        if stream.receive_window < 0:
            self.give_back_connection(flow)
            raise StreamFault(number, ErrorCode.FLOW_CONTROL_ERROR)
        if end:
            stream.remote_closed = True
        stream.data_arrived(data[start:stop], flow, end)
        if end and stream.local_closed:
            self.forget(stream)

    def _headers(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS of no stream")
        if flags & PADDED:
            start, stop = _without_padding(data, start, stop)
        if flags & HAS_PRIORITY:
            if stop - start < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS are too short")
            if UINT32.unpack_from(data, start)[0] & MAX_STREAM_ID == number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream depends on itself")
            start += 5
        if flags & END_HEADERS:
            self.block_arrived(number, data[start:stop], bool(flags & END_STREAM))
        else:
            self._block = bytearray(data[start:stop])
            self._block_stream = number
            self._block_flags = flags
            self._continuations = 0
            self._awaited = CONTINUATION
            self._check_block()

    def _continuation(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if self._block is None:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block += data[start:stop]
        self._continuations += 1
        self._check_block()
        if flags & END_HEADERS:
            block, self._block = bytes(self._block), None
            self._awaited = None
            self.block_arrived(number, block, bool(self._block_flags & END_STREAM))

    def _check_block(self) -> None:
        assert self._block is not None  # noqa: S101 - both callers have just set it
        if len(self._block) > MAX_BLOCK_BYTES or self._continuations > MAX_CONTINUATIONS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the header block is too long")


def _without_padding(data: bytes, start: int, stop: int) -> tuple[int, int]:
    if start == stop:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a padded frame is too short")
    stop -= data[start]
    start += 1
    if stop < start:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return start, stop
