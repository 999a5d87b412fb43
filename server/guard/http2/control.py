"""The frames of HTTP/2 that bring no request and no answer: settings, windows, pings, endings."""

from __future__ import annotations

from typing import Any

from server.guard.http2.frames import (
    ACK,
    MAX_MAX_FRAME,
    MAX_STREAM_ID,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    PING,
    SETTING,
    SETTINGS,
    UINT32,
    ConnectionFault,
    ErrorCode,
    Setting,
    StreamFault,
    frame,
)
from server.guard.http2.limits import MAX_FRAME_BYTES, MAX_SETTINGS
from server.guard.http2.sending import Sender


class ControlFrames(Sender):
    """Handles them, each given its flags, its stream, and where its payload lies in the data."""

    def __init__(self) -> None:
        super().__init__()
        self._settings_seen = False
        self._awaited: int | None = SETTINGS  # the only kind of frame that may come next

    def is_idle(self, number: int) -> bool:
        """Tells whether a stream of this number was not opened yet."""
        raise NotImplementedError

    def went_away(self, last_stream: int) -> None:
        """Is told of GOAWAY."""
        raise NotImplementedError

    def spend(self, cost: int = 1) -> None:
        """Counts a frame that gRPC needs few of.

        Raises:
            ConnectionFault: There were too many.
        """
        if not self.allowance.spend(cost):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames to no purpose")

    def _priority(self, _flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        self.spend()
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        if stop - start != 5:
            raise StreamFault(number, ErrorCode.FRAME_SIZE_ERROR)
        if UINT32.unpack_from(data, start)[0] & MAX_STREAM_ID == number:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)

    def _rst_stream(self, _flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if stop - start != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has a wrong length")
        if not number or self.is_idle(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "RST_STREAM of an idle stream")
        self.spend()
        stream = self.streams.get(number)
        if stream is not None:
            code = _error_code(UINT32.unpack_from(data, start)[0])
            self.forget(stream)
            stream.stream_lost(code, unprocessed=code == ErrorCode.REFUSED_STREAM)

    def _settings(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS of a stream")
        length = stop - start
        if flags & ACK:
            if length:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an ACK has no payload")
            if not self._settings_seen:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "an ACK before SETTINGS")
            self.spend()
            return
        if length % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS have a wrong length")
        if length > 6 * MAX_SETTINGS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings")
        if self._settings_seen:
            self.spend(10)
        self._settings_seen = True
        self._awaited = None
        announced = dict(SETTING.iter_unpack(data[start:stop]))
        self._apply(announced)
        self.write_control(frame(SETTINGS, ACK, 0, b""))

    def _apply(self, announced: dict[int, int]) -> None:
        window = announced.get(Setting.INITIAL_WINDOW_SIZE)
        longest = announced.get(Setting.MAX_FRAME_SIZE, self._peer_frame)
        if announced.get(Setting.ENABLE_PUSH, 0) > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if not MIN_MAX_FRAME <= longest <= MAX_MAX_FRAME:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is not allowed")
        if window is not None and window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too big")
        self._peer_frame = min(longest, MAX_FRAME_BYTES)
        if window is not None:
            self._resize_windows(window)

    def _push_promise(self, *_: Any) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "nothing may be pushed")

    def _ping(self, flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING of a stream")
        if stop - start != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has a wrong length")
        self.spend()
        if not flags & ACK:
            self.write_control(frame(PING, ACK, 0, data[start:stop]))

    def _goaway(self, _flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY of a stream")
        if stop - start < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is too short")
        self.spend()
        self.went_away(UINT32.unpack_from(data, start)[0] & MAX_STREAM_ID)

    def _window_update(self, _flags: int, number: int, data: bytes, start: int, stop: int) -> None:
        if stop - start != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has a wrong length")
        increment = UINT32.unpack_from(data, start)[0] & MAX_STREAM_ID
        if not number:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
            self._open_window(increment)
            return
        stream = self.streams.get(number)
        if stream is not None:
            if not increment:
                raise StreamFault(number, ErrorCode.PROTOCOL_ERROR)
            self._open_stream_window(stream, increment)
        elif self.is_idle(number):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of an idle stream")


def _error_code(number: int) -> ErrorCode:
    try:
        return ErrorCode(number)
    except ValueError:
        return ErrorCode.INTERNAL_ERROR
