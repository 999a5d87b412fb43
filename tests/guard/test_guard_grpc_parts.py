"""The parts of the guard's gRPC, each by itself."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.eager import run_eagerly
from server.guard.grpc.heads import read_answer_head, read_request_head
from server.guard.grpc.inference import parse_request, read_inference
from server.guard.grpc.memory import Memory
from server.guard.grpc.messages import MessageReader, with_prefix
from server.guard.grpc.methods import Methods
from server.guard.grpc.protobuf import service_pb2
from server.guard.grpc.status import encode_message, timeout_seconds
from server.guard.refusal import GrpcCode, Refusal
from server.guard.settings import GuardSettings

HEAD = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/s/m"),
    (b"content-type", b"application/grpc"),
]


def test_only_named_fields_are_passed_on() -> None:
    trace = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    head = read_request_head(
        [
            *HEAD,
            (b"traceparent", trace),
            (b"triton-grpc-protocol-triton-admin", b"secret"),
            (b"grpc-timeout", b"5S"),
            (b"x-other", b"other"),
            (b"triton_grpc_error", b"true"),
            (b"authorization", b"key"),
        ]
    )

    assert trace in head.block
    assert b"secret" in head.block
    for field in (b"5S", b"other", b"triton_grpc_error", b"key"):
        assert field not in head.block
    assert head.timeout == 5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"99999999S", 99999999.0),
        (b"250m", 0.25),
        (b"1u", 1e-6),
        (b"", None),
        (b"1", None),
        (b"123456789S", None),
        (b"-1S", None),
        (b"1 S", None),
        (b"1s", None),
    ],
)
def test_timeouts_are_read(value: bytes, seconds: float | None) -> None:
    assert timeout_seconds(value) == seconds


def test_messages_of_a_status_are_printable() -> None:
    assert encode_message("100% grün\n") == b"100%25 gr%C3%BCn%0A"


def test_answer_without_a_status_is_unknown() -> None:
    assert b"grpc-status\x012" in read_answer_head([(b"x", b"y")]).end


@given(st.lists(st.binary(max_size=50), max_size=8), st.data())
def test_messages_come_out_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    content = b"".join(map(with_prefix, messages))
    reader = MessageReader("identity", 100, "LIMIT")
    found = []
    while content:
        size = data.draw(st.integers(1, len(content)))
        reader.feed(content[:size])
        content = content[size:]
        while reader.whole():
            found.append(reader.take())

    assert found == messages


def test_message_that_unpacks_beyond_the_limit_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100 << 20))
    reader = MessageReader("gzip", 1 << 20, "LIMIT")

    begin = time.process_time()
    with pytest.raises(Refusal, match="LIMIT") as caught:
        reader.take_only(struct.pack(">BL", 1, len(bomb)) + bomb)

    assert caught.value.grpc_code == GrpcCode.RESOURCE_EXHAUSTED
    assert time.process_time() - begin < 0.1


def test_trailing_bytes_behind_a_compressed_message_are_refused() -> None:
    packed = gzip.compress(b"a") + b"more"
    with pytest.raises(Refusal, match="one whole stream"):
        MessageReader("gzip", 100, "LIMIT").take_only(struct.pack(">BL", 1, len(packed)) + packed)


def test_fields_that_nobody_knows_are_not_written_again() -> None:
    unknown = b"\xfa\x7f\x03abc"
    message = service_pb2.ModelInferRequest(model_name="x").SerializeToString()
    assert parse_request(message + unknown, 1000).SerializeToString() == message
    ready = service_pb2.ModelReadyRequest(name="x").SerializeToString()
    method = Methods(GuardSettings()).find(b"/inference.GRPCInferenceService/ModelReady")
    assert method.rewrite(ready + unknown) == ready


def test_large_raw_contents_pass_where_large_typed_ones_do_not() -> None:
    request = service_pb2.ModelInferRequest(raw_input_contents=[bytes(2 << 20)])
    parse_request(request.SerializeToString(), 1 << 20)

    request = service_pb2.ModelInferRequest()
    request.inputs.add().contents.int64_contents.extend(range(1 << 20))
    with pytest.raises(Refusal, match="besides raw_input_contents"):
        parse_request(request.SerializeToString(), 1 << 20)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_request_or_are_refused(message: bytes) -> None:
    for padding in (b"", b"\x3a\x80\x80\x08" + bytes(1 << 17)):
        with contextlib.suppress(Refusal):
            request = parse_request(padding + message, 1 << 16)
            read_inference(request, 0, shared_memory=False)


class Holder:
    """Keeps what it is told to, until it is refused."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None

    def refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal


def test_who_has_kept_memory_for_the_longest_time_lets_it_go() -> None:
    memory = Memory(100)
    first, second, third = Holder(), Holder(), Holder()
    memory.hold(first, 40)
    memory.hold(second, 40)
    memory.hold(first, 50)
    memory.hold(third, 20)

    assert first.refusal is not None
    assert second.refusal is None
    assert memory.total == 60
    memory.release(second)
    memory.release(second)
    memory.hold(third, 0)
    assert memory.total == 0


def test_coroutine_that_need_not_wait_needs_no_task() -> None:
    done = []

    async def work() -> None:
        done.append(asyncio.current_task())

    async def main() -> None:
        assert run_eagerly(work()) is None
        assert done

    asyncio.run(main())


def test_coroutine_that_waits_goes_on_and_can_be_cancelled() -> None:
    seen: list[object] = []

    async def work(future: asyncio.Future[int]) -> None:
        try:
            seen.append(await future)
            await asyncio.sleep(0)
            seen.append(await asyncio.wait_for(asyncio.sleep(0, "slept"), 10))
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = run_eagerly(work(future))
        assert task is not None
        future.set_result(1)
        while len(seen) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert seen == [1, "slept", "cancelled"]


def test_coroutine_whose_task_is_cancelled_at_once_cleans_up() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        task = run_eagerly(work())
        assert task is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)

    asyncio.run(main())

    assert seen == ["cancelled"]
