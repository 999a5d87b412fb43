"""Frames of HTTP/2 (RFC 9113) and headers without compression (RFC 7541), written by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY = 0x20
MAX_FRAME = 16_384
FIRST_WINDOW = 65_535


class Frame(IntEnum):
    """The types of frames."""

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


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int] | None = None) -> bytes:
    """A SETTINGS frame."""
    payload = b"".join(struct.pack(">HI", *item) for item in (values or {}).items())
    return frame(Frame.SETTINGS, 0, 0, payload)


def header_block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as literals that never enter a table."""
    return b"".join(b"\x10" + _string(name) + _string(value) for name, value in headers)


def _string(value: bytes) -> bytes:
    return _integer(len(value)) + value


def _integer(value: int) -> bytes:
    """An integer with a prefix of 7 bits."""
    if value < 127:
        return bytes([value])
    out, value = [127], value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def message(data: bytes, compressed: int = 0, length: int | None = None) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(data) if length is None else length) + data


def call_headers(
    method: bytes = b"ModelInfer", extra: Iterable[tuple[bytes, bytes]] = ()
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of a call."""
    return (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/" + method),
        (b":authority", b"fuzz"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *extra,
    )
