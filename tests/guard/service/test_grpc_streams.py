"""Streams of gRPC through the guard: their order, their refusals, their limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from server.guard.http2.frames import (
    END_HEADERS,
    HEADERS,
    frame,
)
from server.triton import TritonServer
from tests.guard.raw_http2 import RawClient
from tests.guard.running_guard import RunningGuard, running_guard
from tests.guard.service.grpc_requests import OWN, STREAM, stream, tensor, text
from tests.guard.until import SECONDS

pytestmark = pytest.mark.e2e


def test_stream_answers_in_order(client: Any) -> None:
    got = stream(client)
    for number in range(200):
        client.async_stream_infer("echo", text(str(number)), request_id=str(number))

    answers = [got.get(timeout=SECONDS) for _ in range(200)]
    client.stop_stream()

    assert [a.get_response().id for a in answers] == [str(number) for number in range(200)]
    assert [a.as_numpy("echo").item() for a in answers] == [b"%d" % n for n in range(200)]


def test_refused_message_is_answered_in_the_stream_which_goes_on(client: Any) -> None:
    got = stream(client)
    client.async_stream_infer("echo", text("first"))
    assert got.get(timeout=SECONDS).as_numpy("echo").item() == b"first"
    client.async_stream_infer("nothing", text("x"), request_id="wrong")
    assert "unknown model" in got.get(timeout=SECONDS).message()
    client.async_stream_infer("echo", text("last"))

    assert got.get(timeout=SECONDS).as_numpy("echo").item() == b"last"
    client.stop_stream()


def test_stream_whose_only_message_is_refused_ends_well(guard: RunningGuard) -> None:
    with grpc.insecure_channel(guard.grpc_url) as channel:
        call = channel.stream_stream(
            STREAM, response_deserializer=service_pb2.ModelStreamInferResponse.FromString
        )
        answers = list(call(iter([b"\xff"]), timeout=SECONDS))

    assert [answer.error_message for answer in answers] == ["the message is no ModelInferRequest"]


def test_decoupled_model_answers_as_often_as_it_does_without_the_guard(
    client: Any, server: TritonServer
) -> None:
    def ask(asked: Any, *, empty: bool) -> dict[str, list[list[bytes]]]:
        got = stream(asked)
        for request_id in ("a", "", "b"):
            inputs = [tensor("count", [3], "INT32", [1])]
            asked.async_stream_infer(
                "counter", inputs, request_id=request_id, enable_empty_final_response=empty
            )
        answers = [got.get(timeout=SECONDS).get_response() for _ in range(3 * (3 + empty))]
        asked.stop_stream()
        assert got.empty()
        # Triton keeps the order of the answers to a request, and none between requests.
        by_request: dict[str, list[list[bytes]]] = {}
        for answer in answers:
            by_request.setdefault(answer.id, []).append(answer.raw_output_contents[:])
        return by_request

    with triton.InferenceServerClient(server.grpc_url, channel_args=OWN) as direct:
        for empty in (False, True):
            assert ask(client, empty=empty) == ask(direct, empty=empty)


def test_stream_is_for_decoupled_models_or_for_others(client: Any) -> None:
    """Triton does not order the answers of both kinds, which share the stream's one writer."""
    got = stream(client)
    client.async_stream_infer("counter", [tensor("count", [2], "INT32", [1])], request_id="a")
    client.async_stream_infer("echo", text("other"), request_id="b")
    client.async_stream_infer("counter", [tensor("count", [1], "INT32", [1])], request_id="c")

    answers = [got.get(timeout=SECONDS) for _ in range(4)]
    client.stop_stream()

    refusals = [a.message() for a in answers if isinstance(a, InferenceServerException)]
    assert len(refusals) == 1
    assert "another stream" in refusals[0]
    assert client.is_server_live()


def test_streams_of_a_connection_are_limited(server: TritonServer, tmp_path: Path) -> None:
    with (
        running_guard(tmp_path, server, MAX_STREAMS=2) as guard,
        RawClient((guard.host, guard.port)) as raw,
    ):
        for number in (1, 3, 5):
            raw.send(frame(HEADERS, END_HEADERS, number, raw.block(STREAM)))

        assert b"MAX_STREAMS" in raw.until(HEADERS, 5).payload


def test_fast_messages_of_a_stream_are_slowed_down_and_all_answered(
    server: TritonServer, tmp_path: Path
) -> None:
    with (
        running_guard(tmp_path, server, MAX_STREAM_RATE=50) as guard,
        triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as client,
    ):
        got = stream(client)
        begin = time.monotonic()
        for number in range(100):
            client.async_stream_infer("echo", text(str(number)))
        for _ in range(100):
            assert got.get(timeout=SECONDS).as_numpy("echo") is not None
        client.stop_stream()

    assert time.monotonic() - begin > 0.9  # 50 at once, and 50 a second
