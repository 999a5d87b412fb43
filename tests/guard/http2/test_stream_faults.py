"""What is wrong with one stream ends that stream, and nobody else notices."""

from __future__ import annotations

import struct

import pytest

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    RST_STREAM,
    ErrorCode,
    frame,
)
from tests.guard.raw_http2 import INFER, RawClient, window

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


def test_padded_frames_are_read_without_their_padding(client: RawClient) -> None:
    block = client.block()
    client.send(
        frame(
            HEADERS, END_HEADERS | PADDED | HAS_PRIORITY, 1, b"\x03" + bytes(5) + block + bytes(3)
        )
        + frame(DATA, END_STREAM | PADDED, 1, b"\x02" + bytes(5) + bytes(2))
    )

    assert b"TRACE_CONTROL" in client.until(HEADERS, 1).payload
