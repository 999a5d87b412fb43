"""Requests, and models that come and go, leave nothing behind.

In full, as LEAK_REQUESTS=100000 LEAK_CYCLES=1000, this takes about half an hour.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.conformance.graph import TYPES
from tests.conformance.models import EVERY_TYPE, FIXED_SHAPE
from tests.conformance.own_server import (
    explicit_server,
    memory_kilobytes,
    processes,
    shared_memory_files,
)
from tests.conformance.ragged_models import RAGGED_LOOKUP
from tests.conformance.sequence_models import RUNNING_TOTALS
from tests.conformance.target import Request, Target

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ours("counts the memory and the processes of a server that it starts itself"),
]

REQUESTS = int(os.environ.get("LEAK_REQUESTS", "2000"))
CYCLES = int(os.environ.get("LEAK_CYCLES", "8"))
SLACK_KILOBYTES = 24_000
"""What allocators may hold; a kilobyte a request would be four times as much in full."""
TOTAL = RUNNING_TOTALS["oldest"]
MODELS = (EVERY_TYPE, FIXED_SHAPE, RAGGED_LOOKUP, TOTAL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server that loads models when it is asked to."""
    repository = tmp_path_factory.mktemp("leaks")
    for model in MODELS:
        model.write(repository)
    with explicit_server(Path(repository)) as running:
        yield running


def a_round(target: Target, number: int) -> int:
    """Sends requests of every kind, bad ones among them; gives how many."""
    rows = 1 + number % 3
    columns = number % 50
    every = {f"in_{name}": np.zeros((rows, columns), TYPES[name][1]) for name in TYPES}
    every["in_STRING"] = np.full((rows, columns), "text" * (number % 7), dtype=np.object_)
    ragged = [np.full((1, 1 + (number + n) % 9), n if n < 3 else 9, np.float32) for n in range(4)]
    x = {"x": np.ones((1, 1), dtype=np.float32)}
    requests = [
        Request(EVERY_TYPE.name, every),
        Request(FIXED_SHAPE.name, {"x": np.zeros((rows, 2, 3), np.int32)}),
        *(Request(RAGGED_LOOKUP.name, {"x": array}) for array in ragged),
    ]
    failed = [isinstance(result, Exception) for result in target.together(requests)]
    assert failed == [False] * 5 + [True]
    target.infer(TOTAL.name, x, sequence_start=True, sequence_id=number + 1)
    target.infer(TOTAL.name, x, sequence_end=True, sequence_id=number + 1)
    return len(requests) + 2


@pytest.mark.timeout(3600)
def test_requests_leave_memory_where_it_was(server: TritonServer) -> None:
    target = Target("grpc", server.grpc_url)
    for model in MODELS:
        target.client.load_model(model.name)
    sent = number = 0
    settled: tuple[int, dict[str, int]] | None = None
    while sent < REQUESTS:
        sent += a_round(target, number)
        number += 1
        if settled is None and sent >= min(REQUESTS // 2, 5000):
            settled = memory_kilobytes(server), shared_memory_files()
    assert settled is not None
    before, files = settled
    after = memory_kilobytes(server)
    print(f"{sent} requests: {before} kB, then {after} kB")
    assert after - before < SLACK_KILOBYTES
    assert shared_memory_files() == files
    for model in MODELS:
        target.client.unload_model(model.name)
    target.close()


@pytest.mark.timeout(7200)
def test_models_that_come_and_go_leave_nothing(server: TritonServer) -> None:
    with triton.InferenceServerClient(server.grpc_url) as client:
        target = Target("grpc", server.grpc_url)
        _wait_until_unloaded(server)
        # Another server of this process may have files too.
        files = shared_memory_files()

        def cycle() -> None:
            client.load_model(FIXED_SHAPE.name)
            target.infer(FIXED_SHAPE.name, {"x": np.zeros((1, 2, 3), np.int32)})
            client.unload_model(FIXED_SHAPE.name)
            _wait_until_unloaded(server)

        cycle()
        cycle()
        before = memory_kilobytes(server)
        for _ in range(CYCLES):
            cycle()
        after = memory_kilobytes(server)
        print(f"{CYCLES} cycles: {before} kB, then {after} kB")
        assert after - before < SLACK_KILOBYTES
        assert shared_memory_files() == files
        target.close()


def _wait_until_unloaded(server: TritonServer) -> None:
    # Unloading goes on after it is answered; the test's own timeout ends this if it never ends.
    while processes(server) > 1:
        time.sleep(0.01)
