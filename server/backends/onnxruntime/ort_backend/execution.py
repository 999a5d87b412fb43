"""Runs the requests of a batch together, and halves it until a request that fails is alone."""

from collections.abc import Callable, Iterable, Sequence

from .batch import BatchLayout
from .tensors import Tensors, is_empty

Run = Callable[[Tensors], Tensors]
"""Computes the outputs of a batch from its inputs."""


def run_requests(
    run: Run, requests: Sequence[Tensors], layout: BatchLayout
) -> list[Tensors | Exception]:
    """The outputs of each request, or the error of one that fails on its own."""
    if len(requests) == 1:
        return _run_group(run, requests, layout)
    results: dict[int, Tensors | Exception] = {}
    for group in _groups(requests, layout):
        chosen = [requests[number] for number in group]
        results.update(zip(group, _run_group(run, chosen, layout), strict=True))
    return [results[number] for number in range(len(requests))]


def _groups(requests: Sequence[Tensors], layout: BatchLayout) -> Iterable[Sequence[int]]:
    if not layout.batched:
        return [[number] for number in range(len(requests))]
    groups: dict[object, list[int]] = {}
    for number, request in enumerate(requests):
        # States may differ in shape where Triton sees no difference. What is empty runs alone,
        # so that it costs nobody else an answer.
        key: object = number if is_empty(request) else _shapes(request, layout)
        groups.setdefault(key, []).append(number)
    return groups.values()


def _shapes(request: Tensors, layout: BatchLayout) -> object:
    return tuple(
        (name, array.shape[1:]) for name, array in request.items() if name not in layout.ragged
    )


def _run_group(
    run: Run, requests: Sequence[Tensors], layout: BatchLayout
) -> list[Tensors | Exception]:
    try:
        return [*layout.split(run(layout.join(requests)), requests)]
    except Exception as error:  # noqa: BLE001 - it belongs to a request, not to the server
        if len(requests) == 1:
            return [error]
    half = len(requests) // 2
    return [
        result
        for part in (requests[:half], requests[half:])
        for result in _run_group(run, part, layout)
    ]
