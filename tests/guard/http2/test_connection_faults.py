"""Who breaks the rules of a connection is told so with the right code, and it ends."""

from __future__ import annotations

import pytest

from server.guard.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
)
from tests.guard.http2.conftest import Address
from tests.guard.raw_http2 import RawClient, window


def settings(*entries: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in entries))


CONNECTION_FAULTS: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA of stream 0": (frame(DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA of an idle stream": (frame(DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS of stream 0": (frame(HEADERS, END_HEADERS, 0, b"\x82"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS with an even number": (
        frame(HEADERS, END_HEADERS, 2, b"\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "HEADERS with padding of their own length": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b"\x05\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "empty HEADERS that say they are padded": (
        frame(HEADERS, END_HEADERS | PADDED, 1, b""),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "HEADERS too short for a priority": (
        frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\x00\x00"),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a stream that depends on itself": (
        frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\x00\x00\x00\x01\x00\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "a block that refers to nothing": (
        frame(HEADERS, END_HEADERS, 1, b"\xfe"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "a block that is cut off": (
        frame(HEADERS, END_HEADERS, 1, b"\x00\x05ab"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "a block with a number without end": (
        frame(HEADERS, END_HEADERS, 1, b"\xff" + b"\xff" * 40),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "a table larger than allowed": (
        frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x03"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "broken Huffman code": (
        frame(HEADERS, END_HEADERS, 1, b"\x00\x84\xff\xff\xff\xff\x01x"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "HEADERS without their CONTINUATION": (
        frame(HEADERS, 0, 1, b"\x82") + frame(PING, 0, 0, bytes(8)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION of another stream": (
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, END_HEADERS, 3, b"\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (
        frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "CONTINUATION without end": (
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1, b"") * 1000,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a header block of a megabyte": (
        frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, bytes(16_384)) * 64,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "PRIORITY of stream 0": (frame(PRIORITY, 0, 0, bytes(5)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of an idle stream": (
        frame(RST_STREAM, 0, 1, bytes(4)),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "RST_STREAM of stream 0": (frame(RST_STREAM, 0, 0, bytes(4)), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of a wrong length": (
        frame(RST_STREAM, 0, 1, bytes(3)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of a wrong length": (frame(SETTINGS, 0, 0, bytes(5)), ErrorCode.FRAME_SIZE_ERROR),
    "an ACK with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), ErrorCode.FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (settings((2, 2)), ErrorCode.PROTOCOL_ERROR),
    "a window above 2 GiB": (settings((4, 1 << 31)), ErrorCode.FLOW_CONTROL_ERROR),
    "a frame size below the least": (settings((5, 16_383)), ErrorCode.PROTOCOL_ERROR),
    "a frame size above the most": (settings((5, 1 << 24)), ErrorCode.PROTOCOL_ERROR),
    "too many settings at once": (settings(*[(9, 9)] * 65), ErrorCode.ENHANCE_YOUR_CALM),
    "PUSH_PROMISE": (
        frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + b"\x82"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "PING of a wrong length": (frame(PING, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY that is too short": (frame(GOAWAY, 0, 0, bytes(7)), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of nothing": (window(0, 0), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of an idle stream": (window(1, 1), ErrorCode.PROTOCOL_ERROR),
    "WINDOW_UPDATE of a wrong length": (
        frame(WINDOW_UPDATE, 0, 0, bytes(5)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a window that overflows": (window(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    "a frame longer than announced": (
        frame(PING, 0, 0, bytes(70_000)),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a flood of PING": (frame(PING, 0, 0, bytes(8)) * 5_000, ErrorCode.ENHANCE_YOUR_CALM),
    "a flood of SETTINGS": (settings() * 1_000, ErrorCode.ENHANCE_YOUR_CALM),
    "a flood of ACKs": (frame(SETTINGS, ACK, 0, b"") * 5_000, ErrorCode.ENHANCE_YOUR_CALM),
    "a flood of PRIORITY": (
        frame(PRIORITY, 0, 1, bytes(5)) * 5_000,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a flood of unknown frames": (frame(99, 0, 0, b"x") * 5_000, ErrorCode.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_fault_of_a_connection_ends_it_with_goaway(client: RawClient, name: str) -> None:
    sent, code = CONNECTION_FAULTS[name]

    client.send(sent)

    assert client.goaway() == code


def test_http1_is_told_to_go(address: Address) -> None:
    with RawClient(address, greets=False) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: guard\r\n\r\n")

        assert client.goaway() == ErrorCode.PROTOCOL_ERROR


def test_settings_have_to_come_first(address: Address) -> None:
    with RawClient(address, greets=False) as client:
        client.send(PREFACE + frame(PING, 0, 0, bytes(8)))

        assert client.goaway() == ErrorCode.PROTOCOL_ERROR


def test_greeting_may_come_byte_by_byte(address: Address) -> None:
    with RawClient(address, greets=False) as client:
        for byte in PREFACE + frame(SETTINGS, 0, 0, b"") + frame(PING, 0, 0, bytes(8)):
            client.send(bytes([byte]))

        client.until(PING, flags=ACK)
