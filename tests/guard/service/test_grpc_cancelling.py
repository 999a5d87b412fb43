"""Deadlines and cancelled calls reach Triton, and do not end it."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from server.guard.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    frame,
)
from tests.guard.raw_http2 import INFER, RawClient
from tests.guard.running_guard import RunningGuard
from tests.guard.service.grpc_requests import OWN, content, name, text
from tests.guard.until import until

pytestmark = pytest.mark.e2e


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
