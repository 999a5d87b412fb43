"""Calls of gRPC through the guard, by Triton's own clients: each gets its own answer."""

from __future__ import annotations

import asyncio
import queue
import struct
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from tests.guard.raw_http2 import INFER
from tests.guard.running_guard import RunningGuard
from tests.guard.service.grpc_requests import echo_message, text
from tests.guard.until import SECONDS

pytestmark = pytest.mark.e2e


def test_questions_about_server_and_models_are_answered(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("echo").inputs[0].name == "text"
    assert client.get_model_config("echo").config.name == "echo"
    with pytest.raises(InferenceServerException, match="MODEL_CONTROL=explicit"):
        client.get_model_repository_index()
    assert client.get_inference_statistics("echo").model_stats


def test_health_service_answers(guard: RunningGuard) -> None:
    with grpc.insecure_channel(guard.grpc_url) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")

        assert check(b"", timeout=SECONDS) == b"\x08\x01"  # SERVING


@pytest.mark.parametrize(
    ("call", "setting"),
    [
        (lambda c: c.get_trace_settings(), "TRACE_CONTROL"),
        (lambda c: c.get_log_settings(), "LOG_CONTROL"),
        (lambda c: c.load_model("echo"), "MODEL_CONTROL"),
        (lambda c: c.unload_model("echo"), "MODEL_CONTROL"),
        (lambda c: c.get_system_shared_memory_status(), "SHARED_MEMORY"),
        (lambda c: c.register_system_shared_memory("r", "/k", 8), "SHARED_MEMORY"),
        (lambda c: c.unregister_cuda_shared_memory(), "SHARED_MEMORY"),
    ],
)
def test_what_is_closed_names_the_setting_that_opens_it(
    client: Any, call: Callable[[Any], Any], setting: str
) -> None:
    with pytest.raises(InferenceServerException, match=setting) as caught:
        call(client)

    assert caught.value.status() == "StatusCode.PERMISSION_DENIED"


def test_method_that_does_not_exist_is_unimplemented(guard: RunningGuard) -> None:
    with grpc.insecure_channel(guard.grpc_url) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=SECONDS)

    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
def test_text_comes_back(client: Any, algorithm: str | None) -> None:
    answer = client.infer("echo", text("grüße"), compression_algorithm=algorithm)

    assert answer.as_numpy("echo").tolist() == [["grüße".encode()]]


@pytest.mark.parametrize("mebibytes", [1, 8, 60])
def test_large_tensors_pass_both_ways(client: Any, mebibytes: int) -> None:
    numbers = np.arange(mebibytes << 18, dtype=np.float32).reshape(1, -1)
    sent = triton.InferInput("x", list(numbers.shape), "FP32")
    sent.set_data_from_numpy(numbers)

    assert np.array_equal(client.infer("mean", [sent]).as_numpy("double"), 2 * numbers)


def test_message_above_the_limit_is_refused_in_words(client: Any) -> None:
    numbers = np.zeros((1, 17 << 20), dtype=np.float32)
    sent = triton.InferInput("x", list(numbers.shape), "FP32")
    sent.set_data_from_numpy(numbers)

    with pytest.raises(InferenceServerException, match="MAX_BODY") as caught:
        client.infer("mean", [sent])

    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_thousand_calls_at_once_on_one_channel_get_their_own_answers(client: Any) -> None:
    got: queue.Queue[Any] = queue.Queue()
    for number in range(1000):
        client.async_infer(
            "echo",
            text(str(number)),
            lambda result, error, number=number: got.put((number, result, error)),
        )

    for _ in range(1000):
        number, result, error = got.get(timeout=SECONDS)
        assert error is None
        assert result.as_numpy("echo").tolist() == [[str(number).encode()]]


def test_thousand_calls_of_the_asynchronous_client_get_their_own_answers(
    guard: RunningGuard,
) -> None:
    async def ask() -> list[bytes]:
        async with triton_aio.InferenceServerClient(guard.grpc_url) as client:
            answers = await asyncio.gather(
                *(client.infer("echo", text(str(number))) for number in range(1000))
            )
        return [answer.as_numpy("echo").item() for answer in answers]

    assert asyncio.run(ask()) == [str(number).encode() for number in range(1000)]


def test_typed_contents_are_taken(guard: RunningGuard) -> None:
    with grpc.insecure_channel(guard.grpc_url) as channel:
        call = channel.unary_unary(
            INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )

        answer = call(echo_message(b"typed"), timeout=SECONDS)

    assert answer.raw_output_contents[0] == struct.pack("<I", 5) + b"typed"
