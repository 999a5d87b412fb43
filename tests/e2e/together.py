"""Sends requests so that they must meet in one batch, and counts what the server did.

The requests of a gRPC stream are queued in their order. So what is sent behind work
that keeps every instance busy waits in the queue together, and is taken out as one
batch: certain by order, not by luck with a clock.
"""

import time
from dataclasses import dataclass
from queue import Queue
from typing import Any

import numpy as np
from tritonclient import grpc
from tritonclient.utils import np_to_triton_dtype

Inputs = dict[str, np.ndarray[Any, Any]]
Answer = Any
"""An `InferResult`, or the `InferenceServerException` in its place."""


@dataclass(frozen=True)
class Counts:
    """What a model did meanwhile.

    Attributes:
        executions: Batches computed.
        by_rows: How many batches there were of each number of rows.
    """

    executions: int
    by_rows: dict[int, int]


def tensors(inputs: Inputs) -> list[grpc.InferInput]:
    """The inputs of a request."""
    made = []
    for name, array in inputs.items():
        kind = "BYTES" if array.dtype == object else np_to_triton_dtype(array.dtype)
        tensor = grpc.InferInput(name, list(array.shape), kind)
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def send_behind(
    client: grpc.InferenceServerClient, model: str, busy: list[Inputs], requests: list[Inputs]
) -> tuple[list[Answer], Counts]:
    """Sends requests behind others that keep the model's instances busy.

    Args:
        client: Triton's own client.
        model: Batches dynamically.
        busy: Requests that fill a batch each, or fit into no batch of the others; as many
            as there are instances, or more.
        requests: What is to meet in one batch.

    Returns:
        The answers to `requests` in their order, and what was counted for all.
    """
    before = _statistics(client, model)
    # Made beforehand, and what is sent often only once: sending must outrun computing.
    made = {id(inputs): tensors(inputs) for inputs in [*busy, *requests]}
    answers: Queue[tuple[Any, Any]] = Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    try:
        for number, inputs in enumerate([*busy, *requests]):
            client.async_stream_infer(model, made[id(inputs)], request_id=str(number))
        received = [answers.get(timeout=120) for _ in [*busy, *requests]]
    finally:
        client.stop_stream()
    after = _statistics(client, model)
    sent = sum(len(next(iter(inputs.values()))) for inputs in [*busy, *requests])
    deadline = time.monotonic() + 30
    # The server counts an execution after it has sent the answers.
    while _rows(after[1]) < _rows(before[1]) + sent and time.monotonic() < deadline:
        time.sleep(0.001)
        after = _statistics(client, model)
    rows = {n: after[1].get(n, 0) - before[1].get(n, 0) for n in after[1]}
    counts = Counts(after[0] - before[0], {n: count for n, count in rows.items() if count})
    # An error on a stream does not tell which request it answers: whichever has no answer.
    found = {int(result.get_response().id): result for result, error in received if error is None}
    errors = [error for _, error in received if error is not None]
    if len(errors) > 1:
        raise errors[0]
    numbers = range(len(busy), len(busy) + len(requests))
    return [found[n] if n in found else errors[0] for n in numbers], counts


def _rows(by_rows: dict[int, int]) -> int:
    return sum(rows * count for rows, count in by_rows.items())


def _statistics(client: grpc.InferenceServerClient, model: str) -> tuple[int, dict[int, int]]:
    stats = client.get_inference_statistics(model).model_stats[0]
    by_rows = {b.batch_size: b.compute_infer.count for b in stats.batch_stats}
    return stats.execution_count, by_rows
