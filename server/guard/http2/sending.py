"""The sending half of an HTTP/2 connection: frames go out as far as the windows allow."""

from __future__ import annotations

import asyncio
from collections import deque

from server.guard.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    ConnectionFault,
    ErrorCode,
    StreamFault,
    frame_head,
    reset_frame,
    window_frame,
)
from server.guard.http2.limits import (
    MAX_UNREAD_CONTROL_BYTES,
    SMALL_FRAGMENT,
    STREAM_WINDOW,
    Allowance,
)
from server.guard.http2.stream import Buffer, Stream

_COPY_BYTES = 4096
"""Up to here a copy is cheaper than a buffer more."""
_JOIN_BYTES = 32 * 1024
_MAX_OUT_BYTES = 256 * 1024


class Sender:
    """Writes frames to one peer.

    Attributes:
        streams: The open streams by number.
        peer_stream_window: How many bytes the peer takes on a new stream.
        stream_window: How many bytes it may send on one.
        writable: Whether the peer reads what is written.
    """

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.transport: asyncio.Transport | None = None
        self.peer_stream_window = DEFAULT_WINDOW
        self.stream_window = STREAM_WINDOW
        self.writable = True
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.allowance = Allowance(self.now)
        self._out: list[Buffer] = []
        self._out_bytes = 0
        self._peer_frame = MIN_MAX_FRAME
        self._send_window = DEFAULT_WINDOW
        self._blocked: dict[int, Stream] = {}
        self._unread_control = 0

    def send_headers(self, stream: Stream, block: bytes, *, end: bool) -> None:
        """Sends the first header block of our side, which is shorter than a frame may be."""
        self._write_headers(stream.id, block, end)
        if end:
            self._close_local(stream)

    def send_data(self, stream: Stream, data: Buffer, *, end: bool) -> None:
        """Sends a piece of the content, or keeps it until the peer takes it."""
        length = len(data)
        if (
            stream.waiting is None
            and length <= stream.send_window
            and length <= self._send_window
            and length <= self._peer_frame
            and self.writable
        ):
            stream.send_window -= length
            self._send_window -= length
            self._write_data(stream.id, data, length, end)
            if end:
                self._close_local(stream)
            stream.data_left(length)
            return
        if stream.waiting is None:
            stream.waiting = deque()
        stream.waiting.append(data)
        stream.waiting_bytes += length
        stream.ends |= end
        self._blocked[stream.id] = stream
        self._send_waiting(stream)

    def send_trailers(self, stream: Stream, block: bytes) -> None:
        """Ends our side with a header block, behind what waits."""
        if stream.waiting is None:
            self._write_headers(stream.id, block, True)
            self._close_local(stream)
        else:
            stream.trailers = block

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Ends a stream at once."""
        if self.streams.get(stream.id) is stream:
            self.forget(stream)
            self.write_control(reset_frame(stream.id, code))

    def give_back(self, stream: Stream, length: int) -> None:
        """Lets the peer send so many bytes more in place of those that are used up."""
        self.give_back_connection(length)
        if not stream.remote_closed:
            stream.owed += length
            if stream.owed >= self.stream_window // 2:
                stream.receive_window += stream.owed
                self.write_control(window_frame(stream.id, stream.owed))
                stream.owed = 0

    def give_back_connection(self, length: int) -> None:
        """The same for what belongs to no stream that is still open."""
        raise NotImplementedError

    def forget(self, stream: Stream) -> None:
        """Drops a stream, which is closed on both sides or reset, and what waits of it."""
        if self.streams.get(stream.id) is stream:
            del self.streams[stream.id]
        self._blocked.pop(stream.id, None)
        stream.local_closed = stream.remote_closed = True
        stream.waiting = None
        stream.waiting_bytes = 0

    def write_control(self, frames: bytes) -> None:
        """Writes frames that are not under flow control.

        A peer that makes us write them and reads none loses the connection.
        """
        if not self.writable:
            self._unread_control += len(frames)
            if self._unread_control > MAX_UNREAD_CONTROL_BYTES:
                self.abort()
                return
        self._write(frames)

    def flush(self) -> None:
        """Hands what was written to the transport."""
        out = self._out
        if not out:
            return
        self._out = []
        size, self._out_bytes = self._out_bytes, 0
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if size <= _JOIN_BYTES:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    def fail(self, code: ErrorCode, message: str) -> None:
        """Ends the connection because of what the peer did."""
        raise NotImplementedError

    def abort(self) -> None:
        """Ends the connection without a word."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """Is told by the transport that the peer does not read."""
        self.writable = False

    def resume_writing(self) -> None:
        """Is told by the transport that the peer reads again."""
        self.writable = True
        self._unread_control = 0
        self._send_all_waiting()

    def _open_window(self, increment: int) -> None:
        self._send_window += increment
        if self._send_window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window overflows")
        if self._blocked:
            self._send_all_waiting()

    def _open_stream_window(self, stream: Stream, increment: int) -> None:
        stream.send_window += increment
        if stream.send_window > MAX_WINDOW:
            raise StreamFault(stream.id, ErrorCode.FLOW_CONTROL_ERROR)
        if stream.waiting is not None:
            self._send_waiting(stream)

    def _resize_windows(self, size: int) -> None:
        change = size - self.peer_stream_window
        self.peer_stream_window = size
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window overflows")
        if change > 0:
            self._send_all_waiting()

    def _send_all_waiting(self) -> None:
        for stream in list(self._blocked.values()):
            if self._send_window <= 0 or not self.writable:
                return
            # Who is served goes to the end of the queue.
            if self._blocked.pop(stream.id, None) is not None:
                self._blocked[stream.id] = stream
                self._send_waiting(stream)

    def _send_waiting(self, stream: Stream) -> None:
        waiting = stream.waiting
        sent = 0
        while waiting and self.writable:
            data = waiting[0]
            length = len(data)
            allowed = min(stream.send_window, self._send_window, self._peer_frame)
            if allowed < length:
                if allowed <= 0:
                    break
                if allowed < SMALL_FRAGMENT and not self.allowance.spend():
                    self.fail(ErrorCode.ENHANCE_YOUR_CALM, "the windows are too small")
                    return
                view = memoryview(data)
                waiting[0] = view[allowed:]
                data, length = view[:allowed], allowed
                last = False
            else:
                waiting.popleft()
                last = not waiting and stream.ends
            stream.send_window -= length
            self._send_window -= length
            stream.waiting_bytes -= length
            sent += length
            self._write_data(stream.id, data, length, last)
        if not waiting and waiting is not None:
            stream.waiting = None
            self._blocked.pop(stream.id, None)
            if stream.trailers is not None:
                self._write_headers(stream.id, stream.trailers, True)
                self._close_local(stream)
            elif stream.ends:
                self._close_local(stream)
        if sent:
            stream.data_left(sent)

    def _write(self, frames: Buffer) -> None:
        """Keeps what is to be written until this round of the event loop is over.

        A call of the system costs as much as all that the guard does for a small request.
        """
        if not self._out:
            self._loop.call_soon(self.flush)
        self._out.append(frames)
        self._out_bytes += len(frames)
        if self._out_bytes > _MAX_OUT_BYTES:
            self.flush()

    def _write_headers(self, number: int, block: bytes, end: bool) -> None:
        flags = END_HEADERS | END_STREAM if end else END_HEADERS
        self._write(frame_head(len(block), HEADERS, flags, number) + block)

    def _write_data(self, number: int, data: Buffer, length: int, end: bool) -> None:
        head = frame_head(length, DATA, END_STREAM if end else 0, number)
        if length <= _COPY_BYTES:
            self._write(b"".join((head, data)))
        else:
            self._write(head)
            self._write(data)

    def _close_local(self, stream: Stream) -> None:
        """Ends our side of a stream."""
        stream.local_closed = True
        if stream.remote_closed:
            self.forget(stream)
