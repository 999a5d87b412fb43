"""gRPC through the guard with a real Triton behind it, by Triton's own clients."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import random
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    WINDOW_UPDATE,
    frame,
)
from server.triton import TritonServer
from tests.conformance.own_server import settings_for
from tests.guard.guarded_fixtures import guard, marks, server
from tests.guard.guarded_models import write_models
from tests.guard.raw_http2 import RawClient
from tests.guard.running_guard import RunningGuard, running_guard

__all__ = ["guard", "marks", "server"]

pytestmark = pytest.mark.e2e

SECONDS = 60
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
OWN = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
"""Of a channel that shares its connection with no other and takes long messages."""


@pytest.fixture
def client(guard: RunningGuard) -> Iterator[Any]:
    """A client of the guard."""
    with triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as connected:
        yield connected


@pytest.fixture
def raw(guard: RunningGuard) -> Iterator[RawClient]:
    """A client that sends frames."""
    with RawClient((guard.host, guard.port)) as connected:
        yield connected


def tensor(name: str, values: list[Any], kind: str, shape: list[int]) -> Any:
    types = {"BYTES": np.object_, "FP32": np.float32, "INT64": np.int64, "INT32": np.int32}
    made = triton.InferInput(name, shape, kind)
    made.set_data_from_numpy(np.array(values, dtype=types[kind]).reshape(shape))
    return made


def text(word: str) -> list[Any]:
    return [tensor("text", [word.encode()], "BYTES", [1, 1])]


def name(word: str) -> list[Any]:
    return [tensor("name", [word.encode()], "BYTES", [1])]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def echo_message(word: bytes = b"hello") -> Any:
    request = service_pb2.ModelInferRequest(model_name="echo")
    made = request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    made.contents.bytes_contents.append(word)
    return request


def content(message: bytes, flag: int = 0) -> bytes:
    return struct.pack(">BL", flag, len(message)) + message


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

    raw.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 1000)))
    assert len(raw.until(DATA, 1).payload) == 1000
    raw.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 100_000)))
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
    raw.send(frame(WINDOW_UPDATE, 0, 17, struct.pack(">L", 1000)))
    assert b"neighbour" in raw.until(DATA, 17).payload


def test_deadline_is_kept_and_cancels_in_triton(client: Any, marks: Path) -> None:
    with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
        client.infer("waiter", name("late"), client_timeout=1)

    until((marks / "late.cancelled").exists)


def test_guard_ends_a_call_at_its_deadline_by_itself(raw: RawClient, marks: Path) -> None:
    request = service_pb2.ModelInferRequest(model_name="waiter")
    request.inputs.add(name="name", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        b"due"
    )
    raw.send(
        frame(HEADERS, END_HEADERS, 1, raw.block(INFER, [("grpc-timeout", "700m")]))
        + frame(DATA, END_STREAM, 1, content(request.SerializeToString()))
    )

    assert b"Deadline Exceeded" in raw.until(HEADERS, 1).payload
    until((marks / "due.cancelled").exists)


def test_cancelled_call_is_cancelled_in_triton(client: Any, marks: Path) -> None:
    call = client.async_infer("waiter", name("cancel"), lambda **_: None)
    until((marks / "cancel.began").exists)

    call.cancel()

    until((marks / "cancel.cancelled").exists)


def test_closed_connection_cancels_in_triton(guard: RunningGuard, marks: Path) -> None:
    client = triton.InferenceServerClient(guard.grpc_url, channel_args=OWN)
    client.async_infer("waiter", name("close"), lambda **_: None)
    until((marks / "close.began").exists)

    client.close()

    until((marks / "close.cancelled").exists)


def test_cancelled_stream_is_cancelled_in_triton(client: Any, marks: Path) -> None:
    client.start_stream(lambda **_: None)
    client.async_stream_infer("waiter", name("stream"))
    until((marks / "stream.began").exists)

    client.stop_stream(cancel_requests=True)

    until((marks / "stream.cancelled").exists)


def test_cancels_at_any_moment_leave_triton_alive(guard: RunningGuard, client: Any) -> None:
    """Triton 24.10 is ended by cancels that meet an answer, if they reach it."""

    def storm(seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - to be the same each time
        with triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as cancelling:
            for _ in range(100):
                with contextlib.suppress(InferenceServerException):
                    cancelling.infer("echo", text("x"), client_timeout=chance.uniform(0.001, 0.02))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(storm, range(8)))

    assert client.infer("echo", text("alive")).as_numpy("echo").item() == b"alive"


def stream(client: Any) -> queue.Queue[Any]:
    got: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: got.put(error or result))
    return got


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


def test_sigterm_lets_calls_and_streams_finish(
    server: TritonServer, tmp_path: Path, marks: Path
) -> None:
    with (
        running_guard(tmp_path, server) as guard,
        triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as client,
        triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as other,
    ):
        got: queue.Queue[Any] = queue.Queue()
        streamed = stream(other)
        other.async_stream_infer("echo", text("before"))
        assert streamed.get(timeout=SECONDS).as_numpy("echo").item() == b"before"
        client.async_infer("waiter", name("drain"), lambda result, error: got.put(error or result))
        until((marks / "drain.began").exists)

        guard.process.send_signal(signal.SIGTERM)

        ended = streamed.get(timeout=SECONDS)
        # The client may read the end of the connection before the words that came ahead of it.
        assert ended.status() == "StatusCode.UNAVAILABLE"
        (marks / "drain.go").touch()
        assert got.get(timeout=SECONDS).as_numpy("out").item() == b"drain"
        assert guard.process.wait(SECONDS) == 0
        assert not guard.log.strip()


def test_server_that_is_not_there_is_unavailable_and_502(tmp_path: Path) -> None:
    with running_guard(tmp_path) as guard:
        with (
            triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as client,
            pytest.raises(InferenceServerException) as caught,
        ):
            client.is_server_live()
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        with RawClient((guard.host, guard.port)) as raw:
            raw.call(1, "/inference.GRPCInferenceService/ServerLive")
            assert b"502" in raw.until(HEADERS, 1).payload


def test_request_that_ends_servers_is_refused_the_second_time(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    write_models(repository, tmp_path)
    ends = service_pb2.ModelInferRequest(model_name="ender")
    ends.inputs.add(name="name", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"end")
    codes = []
    for each in range(2):
        folder = tmp_path / str(each)
        folder.mkdir()
        with (
            TritonServer(settings_for(repository)) as server,
            running_guard(folder, server, QUARANTINE_DIR=tmp_path / "quarantine") as guard,
            grpc.insecure_channel(guard.grpc_url) as channel,
        ):
            call = channel.unary_unary(INFER)
            with pytest.raises(grpc.RpcError) as caught:
                call(ends.SerializeToString(), timeout=SECONDS)
            codes.append(caught.value.code().name)
    assert codes == ["UNAVAILABLE", "FAILED_PRECONDITION"]


HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend grpc
    bind 127.0.0.1:{port} proto h2
    default_backend guards
backend guards
    retries 3
    retry-on 502 conn-failure
    option redispatch 1
    balance roundrobin
    server empty {empty} proto h2
    server full {full} proto h2
"""


@pytest.fixture
def front_door(guard: RunningGuard, tmp_path: Path) -> Iterator[str]:
    """HAProxy in front of two guards, one of which has no server behind it."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("HAProxy is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running_guard(tmp_path) as empty:
        config = tmp_path / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=port, empty=empty.grpc_url, full=guard.grpc_url))
        with (tmp_path / "haproxy.log").open("w") as log:
            process = subprocess.Popen([program, "-f", str(config)], stdout=log, stderr=log)
        try:
            until(lambda: listens(port))
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_behind_haproxy_another_server_is_asked_where_one_is_gone(front_door: str) -> None:
    with triton.InferenceServerClient(front_door, channel_args=OWN) as client:
        for number in range(20):
            answer = client.infer("echo", text(str(number)))
            assert answer.as_numpy("echo").item() == b"%d" % number


def test_behind_haproxy_large_tensors_streams_and_cancels_pass(
    marks: Path, front_door: str
) -> None:
    numbers = np.arange(1 << 20, dtype=np.float32).reshape(1, -1)
    sent = triton.InferInput("x", list(numbers.shape), "FP32")
    sent.set_data_from_numpy(numbers)
    with triton.InferenceServerClient(front_door, channel_args=OWN) as client:
        until(lambda: infers_well(client, sent, 2 * numbers))
        for word in ("front1", "front2"):
            call = client.async_infer("waiter", name(word), lambda **_: None)
            until((marks / f"{word}.began").exists)
            call.cancel()
            until((marks / f"{word}.cancelled").exists)
        until(lambda: streams_well(client))


def infers_well(client: Any, sent: Any, expected: Any) -> bool:
    try:
        answer = client.infer("mean", [sent])
    except InferenceServerException as error:
        # What does not fit into its buffer, HAProxy cannot send again.
        if error.status() != "StatusCode.UNAVAILABLE":
            raise
        return False
    return np.array_equal(answer.as_numpy("double"), expected)


def streams_well(client: Any) -> bool:
    got = stream(client)
    for number in range(50):
        client.async_stream_infer("echo", text(str(number)))
    first = got.get(timeout=SECONDS)
    if isinstance(first, InferenceServerException):  # the guard without a server
        client.stop_stream()
        return False
    answers = [first, *(got.get(timeout=SECONDS) for _ in range(49))]
    client.stop_stream()
    return [a.as_numpy("echo").item() for a in answers] == [b"%d" % n for n in range(50)]
