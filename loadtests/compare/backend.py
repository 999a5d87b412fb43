"""The onnxruntime backend against ONNX Runtime called directly.

Both compute the same tensors with as many threads. The server's time is its own statistics'
compute time, from the moment when the requests of a batch are handed to the backend to the
moment when its answers are back; sending them to the callers comes after that.

The direct call is timed in this process, once in a loop and once at the server's pace: with
a pause before each call as long as the server pauses between two. Caches grow cold meanwhile,
in either. The server is compared with the latter.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import tritonclient.grpc as triton_grpc
from tritonclient.utils import np_to_triton_dtype

from build import model_config
from loadtests.compare.measure import Bench, Case, repeat
from loadtests.compare.repository import PUBLISHED, VariantRepository, repository, threads
from loadtests.compare.results import AimResult, Comparison, Figure, Measurement, judge
from loadtests.compare.served import counted
from server.backends.onnxruntime.ort_backend.batch import BatchLayout
from server.backends.onnxruntime.ort_backend.config import read_config
from server.backends.onnxruntime.ort_backend.session import session_options

TOKENS = 27
"""Of a film review, on average."""
_TIMES = ("compute_input", "compute_infer")

SERVED = Figure("served", "in the server, µs a batch", lower_is_better=True)
ADDED = Figure("added", "added, µs", lower_is_better=True, ranged=True)
PART = Figure("part", "of the direct rate", ranged=True)
FIGURES = (
    SERVED,
    Figure("direct", "direct at the server's pace, µs", lower_is_better=True, ranged=True),
    Figure("loop", "direct in a loop, µs", lower_is_better=True),
    ADDED,
    PART,
)

Feed = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Batch:
    """A batch to measure, of so many requests with so many rows each."""

    title: str
    model: str
    requests: int
    rows: int = 1
    aims: tuple[tuple[Figure, float], ...] = ()  # limits of what the server adds or reaches

    @property
    def size(self) -> int:
        """The rows of the batch."""
        return self.requests * self.rows


BATCHES = (
    Batch("CNN, 1 row", "mnist_cnn", 1, aims=((ADDED, 120),)),
    Batch("CNN, 1 request of 32 rows", "mnist_cnn", 1, 32, aims=((PART, 0.85),)),
    Batch("CNN, 32 requests of 1 row", "mnist_cnn", 32, aims=((PART, 0.85),)),
    Batch(f"BERT, 1 row of {TOKENS} tokens", "sentiment_bert", 1),
    Batch(f"BERT, 32 requests of {TOKENS} tokens", "sentiment_bert", 32, aims=((PART, 0.95),)),
)


def aims(comparison: Comparison) -> list[AimResult]:
    """What the server adds, against what it may add."""
    limits = {batch.title: batch.aims for batch in BATCHES}
    return [
        judge(variant, figure, limit)
        for variant in comparison.variants
        for figure, limit in limits[variant.name]
    ]


def backend(bench: Bench, stack: ExitStack) -> list[Case]:
    """Each batch with one thread and with as many as there are cores."""
    variants = stack.enter_context(repository())
    timed = [
        (count, Timed(bench, batch, count, variants))
        for count, batch in product(sorted({1, bench.settings.threads}), BATCHES)
    ]
    server = stack.enter_context(bench.triton(variants.folder))
    client = stack.enter_context(triton_grpc.InferenceServerClient(server.target.grpc))
    return [
        Case(counted(count, "thread"), each.batch.title, partial(each.measure, client))
        for count, each in timed
    ]


class Timed:
    """A batch that the server and this process compute by turns, with `count` threads each.

    It adds a model to `variants` whose batches have exactly this size.
    """

    def __init__(self, bench: Bench, batch: Batch, count: int, variants: VariantRepository) -> None:
        def edit(config: Any) -> None:
            for group in config.instance_group:
                group.count = 1  # as there is one direct call at a time
            # A batch starts when it is full and not before, so that there is only one size.
            config.dynamic_batching.preferred_batch_size[:] = [batch.size]
            config.dynamic_batching.max_queue_delay_microseconds = 60_000_000
            for output in config.output:
                output.label_filename = ""

        self.batch = batch
        self._settings = bench.settings
        name = f"{batch.model}_{batch.requests}_{batch.rows}_{count}"
        self._model = variants.add(batch.model, name, edit, threads(count))
        config = model_config.to_json(model_config.of_model(variants.folder, name))
        read = read_config(config)
        file = PUBLISHED / batch.model / "1" / read.model_filename
        self._session: Any = ort.InferenceSession(str(file), session_options(read))
        self._outputs = [output.name for output in read.outputs]
        requests = [_request(config, batch.rows, seed) for seed in range(batch.requests)]
        self._feed = BatchLayout.of(read, (), ()).join(requests)
        self._sent = [_tensors(request) for request in requests]

    def measure(self, client: Any) -> Measurement:
        """Times the direct call, the server, and the direct call at the server's pace."""
        if self._settings.warm_up:
            for _ in repeat(self._settings.warm_up):
                self._served(client, 1)
        runs = max(3, int(self._settings.measure_s / 3 * 1e6 / self._direct(3)))
        loop = self._direct(runs)
        served, pause = self._served(client, runs)
        direct = self._direct(runs, pause)
        return Measurement(
            {
                "served": served,
                "direct": direct,
                "loop": loop,
                "added": served - direct,
                "part": direct / served,
            }
        )

    def _direct(self, runs: int, pause: float = 0) -> float:
        """Microseconds of a call, with so many of pause before each."""
        self._session.run(self._outputs, self._feed)
        took = 0.0
        for _ in range(runs):
            if pause:
                time.sleep(pause / 1e6)
            start = time.perf_counter()
            self._session.run(self._outputs, self._feed)
            took += time.perf_counter() - start
        return took / runs * 1e6

    def _served(self, client: Any, batches: int) -> tuple[float, float]:
        """Microseconds that a batch is computed, and that pass until the next."""
        before = self._compute_time(client)
        answers: queue.Queue[Any] = queue.Queue()
        start = time.perf_counter()
        for _ in range(batches):
            for inputs in self._sent:
                client.async_infer(
                    self._model, inputs, lambda result, error: answers.put(error or result)
                )
            for _ in self._sent:
                answer = answers.get(timeout=60)
                if isinstance(answer, Exception):
                    raise answer
        whole = (time.perf_counter() - start) / batches * 1e6
        # The statistics are written after the answers are sent.
        while (after := self._compute_time(client))[0] < before[0] + batches:
            time.sleep(0.001)
        took = (after[1] - before[1]) / (after[0] - before[0]) / 1e3
        return took, max(0.0, whole - took)

    def _compute_time(self, client: Any) -> tuple[int, int]:
        """How many batches were computed so far, and their nanoseconds."""
        answer = client.get_inference_statistics(self._model, as_json=True)["model_stats"][0]
        for batch in answer.get("batch_stats", []):
            if int(batch["batch_size"]) == self.batch.size:
                nanoseconds = sum(int(batch[name].get("ns", 0)) for name in _TIMES)
                return int(batch["compute_infer"]["count"]), nanoseconds
        return 0, 0


def _request(config: Mapping[str, Any], rows: int, seed: int) -> Feed:
    chance = np.random.default_rng(seed)
    feed: Feed = {}
    for entry in config["input"]:
        shape = [rows, *(TOKENS if int(size) < 0 else int(size) for size in entry["dims"])]
        if entry["data_type"] == "TYPE_FP32":
            feed[entry["name"]] = chance.random(shape, dtype=np.float32)
        elif "mask" in entry["name"]:
            feed[entry["name"]] = np.ones(shape, dtype=np.int64)
        else:
            feed[entry["name"]] = chance.integers(1000, 2000, shape, dtype=np.int64)
    return feed


def _tensors(feed: Feed) -> list[Any]:
    tensors = []
    for name, array in feed.items():
        tensor = triton_grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors
