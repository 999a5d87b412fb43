"""The frames of HTTP/2 (RFC 9113): their numbers, how they are written, and the two faults."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9

DATA = 0
HEADERS = 1
PRIORITY = 2
RST_STREAM = 3
SETTINGS = 4
PUSH_PROMISE = 5
PING = 6
GOAWAY = 7
WINDOW_UPDATE = 8
CONTINUATION = 9

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

MAX_STREAM_ID = 2**31 - 1
MAX_WINDOW = 2**31 - 1
DEFAULT_WINDOW = 65_535
MIN_MAX_FRAME = 16_384
"""The longest frame that everybody takes; a peer may say that it takes longer ones."""
MAX_MAX_FRAME = 2**24 - 1

HEAD = struct.Struct(">HBBBL")
"""The head of a frame: its length in two parts, type, flags, stream."""
UINT32 = struct.Struct(">L")
SETTING = struct.Struct(">HL")


class Setting(IntEnum):
    """The settings that a peer may announce."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection is ended."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11


class ConnectionFault(Exception):  # noqa: N818 - RFC 9113's connection error is none of Python's
    """The peer breaks the protocol so that the connection ends with GOAWAY.

    Args:
        code: What GOAWAY says.
        message: The same in words.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFault(Exception):  # noqa: N818 - as above
    """The peer breaks the protocol on one stream, which ends with RST_STREAM.

    Args:
        stream: The stream's number.
        code: What RST_STREAM says.
    """

    def __init__(self, stream: int, code: ErrorCode) -> None:
        super().__init__(stream, code)
        self.stream = stream
        self.code = code


def frame_head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Writes the nine bytes before a payload of that length."""
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Writes a whole frame."""
    return frame_head(len(payload), kind, flags, stream) + payload


def settings_frame(settings: dict[Setting, int]) -> bytes:
    """Writes a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in settings.items()))


def goaway_frame(last_stream: int, code: ErrorCode, message: str = "") -> bytes:
    """Writes a GOAWAY frame: streams above `last_stream` were not and will not be looked at."""
    words = message.encode()[:256]
    return frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, code) + words)


def reset_frame(stream: int, code: ErrorCode) -> bytes:
    """Writes a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, UINT32.pack(code))


def window_frame(stream: int, increment: int) -> bytes:
    """Writes a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, UINT32.pack(increment))
