"""Messages in pieces, and answers as fast as their callers take them off."""

from __future__ import annotations

import struct

import pytest
from tritonclient.grpc import service_pb2

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
)
from tests.guard.raw_http2 import INFER, RawClient, window
from tests.guard.running_guard import RunningGuard
from tests.guard.service.grpc_requests import content, echo_message

pytestmark = pytest.mark.e2e


def test_message_may_come_in_pieces(raw: RawClient) -> None:
    message = content(echo_message().SerializeToString())
    raw.send(frame(HEADERS, END_HEADERS, 1, raw.block(INFER)))
    for byte in message:
        raw.send(frame(DATA, 0, 1, bytes([byte])))
    raw.send(frame(DATA, END_STREAM, 1, b""))

    assert b"hello" in raw.until(DATA, 1).payload


def test_answer_waits_for_the_window_and_comes_whole(raw: RawClient) -> None:
    raw.send(frame(4, 0, 0, struct.pack(">HL", 4, 0)))
    raw.call(1, INFER, echo_message(b"x" * 5000).SerializeToString())
    raw.until(HEADERS, 1)
    assert raw.is_alive()  # and no DATA came before the answer to this

    raw.send(window(1, 1000))
    assert len(raw.until(DATA, 1).payload) == 1000
    raw.send(window(1, 100_000))
    assert b"xxx" in raw.until(DATA, 1).payload
    assert b"grpc-status" in raw.until(HEADERS, 1, END_STREAM).payload


def test_answers_nobody_reads_hold_little_memory_and_nobody_up(
    guard: RunningGuard, raw: RawClient
) -> None:
    before = guard.memory_bytes()
    raw.send(frame(4, 0, 0, struct.pack(">HL", 4, 0)))
    request = service_pb2.ModelInferRequest(model_name="mean", raw_input_contents=[bytes(4 << 20)])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 1 << 20])
    message = content(request.SerializeToString())
    for number in range(1, 17, 2):
        raw.send(frame(HEADERS, END_HEADERS, number, raw.block(INFER)))
        for start in range(0, len(message), 1 << 14):
            raw.send(frame(DATA, 0, number, message[start : start + (1 << 14)]))
            if start % (1 << 17) == 0:
                assert raw.is_alive()  # so that the windows are given back
        raw.send(frame(DATA, END_STREAM, number, b""))
        raw.until(HEADERS, number)

    assert guard.memory_bytes() < before + (64 << 20)
    raw.call(17, INFER, echo_message(b"neighbour").SerializeToString())
    raw.send(window(17, 1000))
    assert b"neighbour" in raw.until(DATA, 17).payload
