"""What the guard refuses over gRPC: wrong requests and wrong framing, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
)
from tests.guard.raw_http2 import INFER, RawClient
from tests.guard.running_guard import RunningGuard
from tests.guard.service.grpc_requests import content, echo_message
from tests.guard.until import SECONDS

pytestmark = pytest.mark.e2e


def refused(guard: RunningGuard, message: bytes) -> tuple[str, str]:
    with (
        grpc.insecure_channel(guard.grpc_url) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary(INFER)(message, timeout=SECONDS)
    return caught.value.code().name, caught.value.details()


def changed(change: Callable[[Any], object]) -> bytes:
    request = echo_message()
    change(request)
    return bytes(request.SerializeToString())


def classify(request: Any) -> None:
    request.outputs.add(name="echo").parameters["classification"].int64_param = 1


def two_kinds(request: Any) -> None:
    request.inputs[0].contents.int_contents.append(1)


def raw_and_typed(request: Any) -> None:
    request.raw_input_contents.append(b"\x01\0\0\0a")


def too_many_raw(request: Any) -> None:
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.extend([b"\x01\0\0\0a"] * 2)


def terabytes(request: Any) -> None:
    request.inputs[0].shape[:] = [1 << 62, 1 << 62]


def in_shared_memory(request: Any) -> None:
    request.inputs[0].ClearField("contents")
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    request.inputs[0].parameters["shared_memory_byte_size"].int64_param = 5


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (b"\xff\xff\xff", "INVALID_ARGUMENT", "no ModelInferRequest"),
        (b"", "NOT_FOUND", "unknown model"),
        (changed(classify), "INVALID_ARGUMENT", "classification"),
        (changed(two_kinds), "INVALID_ARGUMENT", "bytes_contents"),
        (changed(raw_and_typed), "INVALID_ARGUMENT", "contents"),
        (changed(too_many_raw), "INVALID_ARGUMENT", "raw_input_contents"),
        (changed(terabytes), "INVALID_ARGUMENT", "shape"),
        (changed(in_shared_memory), "PERMISSION_DENIED", "SHARED_MEMORY"),
        (b"\x2a\x00" * 600_000, "INVALID_ARGUMENT", "fields"),
        (
            changed(lambda r: r.parameters["priority"].CopyFrom(service_pb2.InferParameter())),
            "INVALID_ARGUMENT",
            "no value",
        ),
    ],
)
def test_wrong_request_is_refused_in_words(
    guard: RunningGuard, message: bytes, code: str, words: str
) -> None:
    assert (found := refused(guard, message))[0] == code
    assert words in found[1]


CONTENTS: dict[str, tuple[list[bytes], dict[str, str], str]] = {
    "no message": ([b""], {}, "no message"),
    "half a prefix": ([b"\0\0"], {}, "cut off"),
    "half a message": ([content(b"abc")[:-1]], {}, "cut off"),
    "two messages": ([content(b"") * 2], {}, "more than its one message"),
    "an unknown flag": ([content(b"", 7)], {}, "begins with 7"),
    "compressed by nothing": ([content(b"x", 1)], {}, "grpc-encoding"),
    "compressed by something": ([b""], {"grpc-encoding": "snappy"}, "snappy"),
    "no gzip": ([content(b"x" * 20, 1)], {"grpc-encoding": "gzip"}, "not compressed by gzip"),
    "a bad timeout": ([content(b"")], {"grpc-timeout": "soon"}, "grpc-timeout"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_wrong_framing_is_refused_in_words(raw: RawClient, case: str) -> None:
    pieces, extra, words = CONTENTS[case]
    raw.send(frame(HEADERS, END_HEADERS, 1, raw.block(INFER, extra.items())))
    for piece in pieces:
        raw.send(frame(DATA, END_STREAM, 1, piece))

    assert words.encode() in raw.until(HEADERS, 1).payload
    assert raw.is_alive()
