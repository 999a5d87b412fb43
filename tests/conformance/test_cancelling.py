"""A request whose caller has gone is not computed."""

from __future__ import annotations

import queue
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.conformance.models import SLOW
from tests.conformance.own_server import settings_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ours("a request that was cancelled in the queue is computed"),
]

DEADLINE_SECONDS = 120
FOR_EVER = 2**62


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TritonServer]:
    """A server with a model that takes as long as it is told."""
    SLOW.write(tmp_path)
    with TritonServer(settings_for(tmp_path)) as started:
        yield started


@pytest.fixture
def client(server: TritonServer) -> Iterator[Any]:
    """A client of that server."""
    with triton.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def inputs(steps: int) -> list[Any]:
    """Makes a request that takes so many steps."""
    made = []
    for name, array, kind in (
        ("steps", np.array([steps]), "INT64"),
        ("x", np.ones(1, dtype=np.float32), "FP32"),
    ):
        tensor = triton.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def until(condition: Callable[[], bool]) -> None:
    """Waits for what is bound to happen."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def test_request_cancelled_while_another_computes_is_dropped(
    client: Any, server: TritonServer
) -> None:
    def waiting() -> bool:
        with urllib.request.urlopen(f"http://{server.metrics_url}/metrics") as page:
            lines = page.read().decode().splitlines()
        counts = [x for x in lines if x.startswith("nv_inference_pending_request_count{")]
        return any(float(line.rpartition(" ")[2]) > 0 for line in counts)

    client.infer("slow", inputs(1))
    start = time.monotonic()
    client.infer("slow", inputs(20_000))
    some_seconds = int(20_000 * 5 / (time.monotonic() - start))
    done: queue.Queue[Any] = queue.Queue()
    client.async_infer(
        "slow", inputs(some_seconds), lambda result, error: done.put(result or error)
    )
    abandoned = client.async_infer("slow", inputs(FOR_EVER), lambda **_: None)
    until(waiting)
    abandoned.cancel()
    assert done.empty(), "the first request ended before the second one was cancelled"
    # This waits behind both, and is answered only if the endless one is not computed.
    client.infer("slow", inputs(1), client_timeout=DEADLINE_SECONDS)
    assert not isinstance(done.get(timeout=DEADLINE_SECONDS), Exception)
