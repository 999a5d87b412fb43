"""Whatever bytes come, the guard keeps its memory, its temper and its other clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.guard.http2.frames import DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame
from tests.guard.raw_http2 import RawClient, answers
from tests.guard.running_guard import RunningGuard, running_guard

PATHS = st.sampled_from(
    [
        f"/inference.GRPCInferenceService/{method}"
        for method in (
            "ModelInfer",
            "ModelStreamInfer",
            "ServerLive",
            "ModelConfig",
            "TraceSetting",
        )
    ]
    + ["/grpc.health.v1.Health/Check", "/", ""]
)
FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.sampled_from([0, 1, 3, 5, 7, 2, 2**31 - 1]),
    st.one_of(st.binary(max_size=64), st.binary(min_size=4, max_size=4), st.just(bytes(8))),
)
MEMORY_BYTES = 48 << 20


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGuard]:
    """A guard in front of nothing, which has nothing to complain of at the end."""
    with running_guard(tmp_path_factory.mktemp("guard")) as running:
        address = running.host, running.port
        assert answers(address)
        before = running.memory_bytes()
        yield running
        assert answers(address)
        assert running.process.poll() is None
        assert not running.log.strip()
        assert running.memory_bytes() < before + MEMORY_BYTES


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000), st.booleans())
def test_random_bytes_end_a_connection_at_most(
    guard: RunningGuard, sent: bytes, after_the_preface: bool
) -> None:
    address = guard.host, guard.port
    with RawClient(address, greets=False) as client:
        client.send((PREFACE if after_the_preface else b"") + sent)
    assert answers(address)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FRAMES, max_size=20), PATHS)
def test_random_frames_end_a_connection_at_most(
    guard: RunningGuard, frames: list[bytes], path: str
) -> None:
    address = guard.host, guard.port
    with RawClient(address) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.block(path)))
        for each in frames:
            client.send(each)
    assert answers(address)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=100), max_size=5), PATHS, st.booleans())
def test_random_content_of_a_call_is_answered(
    guard: RunningGuard, pieces: list[bytes], path: str, prefixed: bool
) -> None:
    address = guard.host, guard.port
    content = [
        b"\0" + len(piece).to_bytes(4, "big") + piece if prefixed else piece for piece in pieces
    ]
    with RawClient(address) as client:
        client.send(frame(HEADERS, END_HEADERS, 1, client.block(path)))
        for piece in content:
            client.send(frame(DATA, 0, 1, piece))
        client.send(frame(DATA, 1, 1, b""))
        assert client.until(HEADERS, 1)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.binary(max_size=100))
def test_random_header_blocks_end_a_connection_at_most(
    guard: RunningGuard, block: bytes, announced: bytes
) -> None:
    address = guard.host, guard.port
    with RawClient(address) as client:
        client.send(frame(SETTINGS, 0, 0, announced[: len(announced) // 6 * 6]))
        client.send(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 1, 1, b""))
    assert answers(address)
