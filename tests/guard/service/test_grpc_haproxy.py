"""gRPC through HAProxy and the guards behind it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.guard.running_guard import RunningGuard, running_guard
from tests.guard.service.grpc_requests import OWN, name, stream, text
from tests.guard.until import SECONDS, until

pytestmark = pytest.mark.e2e


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
