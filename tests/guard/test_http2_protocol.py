"""Who breaks HTTP/2's rules is told so with the right code, and nobody else notices."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.guard.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
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
from tests.guard.raw_http2 import RawClient, answers
from tests.guard.running_guard import RunningGuard, running_guard

Address = tuple[str, int]
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGuard]:
    """A guard in front of nothing."""
    with running_guard(tmp_path_factory.mktemp("guard")) as running:
        yield running
        assert "Traceback" not in running.log
        assert not running.log.strip()


@pytest.fixture
def address(guard: RunningGuard) -> Iterator[Address]:
    """Where it listens; afterwards it still answers."""
    yield guard.host, guard.port
    assert answers((guard.host, guard.port))


@pytest.fixture
def client(address: Address) -> Iterator[RawClient]:
    """A client that has greeted."""
    with RawClient(address) as connected:
        yield connected


def settings(*entries: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in entries))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))


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


MALFORMED = {
    "upper case": [("Content-Length", "1")],
    "a pseudo-header of answers": [(":status", "200")],
    "a header of connections": [("connection", "close")],
    "a coding of HTTP/1.1": [("transfer-encoding", "chunked")],
    "a line break in a value": [("x", "a\nb")],
    "a NUL in a value": [("x", "a\0b")],
    "an empty name": [("", "x")],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_head_ends_its_stream_only(client: RawClient, name: str) -> None:
    block = client.block(extra=MALFORMED[name])

    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert client.reset(1) == ErrorCode.PROTOCOL_ERROR
    assert client.is_alive()


def test_head_without_a_path_ends_its_stream_only(client: RawClient) -> None:
    block = client.encoder.encode([(":method", "POST"), (":scheme", "http")])

    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert client.reset(1) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(("fields", "status"), [({"method": "GET"}, b"405"), ({}, b"415")])
def test_what_is_no_grpc_gets_a_status_of_http(
    client: RawClient, fields: dict[str, str], status: bytes
) -> None:
    block = client.block(**fields)  # type: ignore[arg-type]
    if not fields:
        block = client.encoder.encode(
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", "/"),
                ("content-type", "text/html"),
            ]
        )

    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))

    assert status in client.until(HEADERS, 1).payload


def test_header_list_that_unpacks_to_megabytes_is_refused(client: RawClient) -> None:
    # An entry of 4 kB of the dynamic table, then a thousand references of one byte to it.
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000

    client.send(frame(HEADERS, END_HEADERS, 1, entry + b"\xbe" * 1000))

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_data_on_a_stream_that_ended_is_refused(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, client.block()))
    client.until(HEADERS, 1)

    client.send(frame(DATA, 0, 1, b"more"))

    assert client.reset(1) == ErrorCode.STREAM_CLOSED
    assert client.is_alive()


def test_second_head_on_a_stream_that_ended_ends_the_connection(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, client.block()))
    client.until(HEADERS, 1)

    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, client.block()))

    assert client.goaway() == ErrorCode.STREAM_CLOSED


def test_stream_that_was_reset_gets_no_answer_and_its_neighbour_does(client: RawClient) -> None:
    client.send(
        frame(HEADERS, END_HEADERS, 1, client.block(INFER))
        + frame(RST_STREAM, 0, 1, struct.pack(">L", ErrorCode.CANCEL))
    )
    client.call(3)

    assert next(each for each in client.frames() if each.kind == HEADERS).stream == 3


def test_window_of_a_stream_that_overflows_ends_the_stream(client: RawClient) -> None:
    client.send(frame(HEADERS, END_HEADERS, 1, client.block(INFER)) + window(1, 2**31 - 1))

    assert client.reset(1) == ErrorCode.FLOW_CONTROL_ERROR
    assert client.is_alive()


def test_rapid_resets_end_in_calm(client: RawClient) -> None:
    for number in range(1, 12_001, 2):
        client.send(
            frame(HEADERS, END_HEADERS, number, client.block(INFER))
            + frame(RST_STREAM, 0, number, struct.pack(">L", ErrorCode.CANCEL))
        )

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_empty_data_without_end_ends_in_calm(client: RawClient) -> None:
    client.send(
        frame(HEADERS, END_HEADERS, 1, client.block(INFER)) + frame(DATA, 0, 1, b"") * 5_000
    )

    assert client.goaway() == ErrorCode.ENHANCE_YOUR_CALM


def test_streams_beyond_the_limit_are_refused(client: RawClient) -> None:
    for number in range(1, 2 * 257, 2):
        client.send(frame(HEADERS, END_HEADERS, number, client.block(INFER)))

    assert client.reset(2 * 256 + 1) == ErrorCode.REFUSED_STREAM
    assert client.is_alive()


def test_padded_frames_are_read_without_their_padding(client: RawClient) -> None:
    block = client.block()
    client.send(
        frame(
            HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, 1, b"\x03" + bytes(5) + block + bytes(3)
        )
        + frame(DATA, END_STREAM | PADDED, 1, b"\x02" + bytes(5) + bytes(2))
    )

    assert b"TRACE_CONTROL" in client.until(HEADERS, 1).payload


def test_pings_of_a_peer_that_reads_nothing_fill_no_memory(guard: RunningGuard) -> None:
    before = guard.memory_bytes()
    with RawClient((guard.host, guard.port)) as client:
        client.socket.settimeout(2)
        for _ in range(200):
            client.send(frame(PING, 0, 0, bytes(8)) * 1000)

        assert guard.memory_bytes() < before + (8 << 20)
    assert answers((guard.host, guard.port))


def test_request_that_does_not_come_on_is_refused_and_its_neighbour_is_not(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, READ_TIMEOUT=1) as guard,
        RawClient((guard.host, guard.port)) as slow,
    ):
        slow.send(frame(HEADERS, END_HEADERS, 1, slow.block(INFER)) + frame(DATA, 0, 1, b"\0\0"))

        assert b"nothing came" in slow.until(HEADERS, 1).payload
        assert slow.is_alive()
        assert answers((guard.host, guard.port))


def test_idle_connection_is_closed_with_a_word(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, IDLE_TIMEOUT=1) as guard,
        RawClient((guard.host, guard.port)) as idle,
    ):
        assert idle.is_alive()

        assert idle.goaway() == ErrorCode.NO_ERROR


def test_idle_connection_makes_room_for_a_new_one(tmp_path: Path) -> None:
    with running_guard(tmp_path, MAX_CONNECTIONS=4) as guard:
        address = guard.host, guard.port
        clients = [RawClient(address) for _ in range(4)]
        for client in clients:
            assert client.is_alive()
            time.sleep(0.01)  # the guard's clock counts milliseconds

        assert answers(address)

        assert clients[0].goaway() == ErrorCode.NO_ERROR
        for client in clients:
            client.socket.close()


def test_half_sent_messages_end_where_the_memory_does(tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, MAX_BODIES=1 << 20) as guard,
        RawClient((guard.host, guard.port)) as client,
    ):
        piece = b"\0" + (2_000_000).to_bytes(4, "big") + bytes(16_000)
        for number in range(1, 201, 2):
            client.send(
                frame(HEADERS, END_HEADERS, number, client.block(INFER))
                + frame(DATA, 0, number, piece)
            )

        assert b"memory" in client.until(HEADERS, 1).payload
        assert client.is_alive()
        assert answers((guard.host, guard.port))
