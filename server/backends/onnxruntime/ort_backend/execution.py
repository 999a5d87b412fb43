"""Runs the requests of a batch together, and one by one when one of them spoils it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .batch import join, rows_of, split
from .tensors import Tensors

Run = Callable[[Tensors], Tensors]
"""Computes the outputs of a batch from its inputs."""


def run_requests(
    run: Run, requests: Sequence[Tensors], *, batched: bool
) -> list[Tensors | Exception]:
    """Computes the outputs of every request.

    Args:
        run: computes a batch.
        requests: the inputs of each request.
        batched: whether the tensors have a batch dimension, so that requests can be joined.

    Returns:
        For each request its outputs, or why it alone has none.
    """
    if batched and len(requests) > 1:
        try:
            return list(_together(run, requests))
        except Exception:  # noqa: BLE001, S110 - whose fault it is shows when each runs alone
            pass
    return [_alone(run, request, batched=batched) for request in requests]


def _together(run: Run, requests: Sequence[Tensors]) -> list[Tensors]:
    return split(run(join(requests)), [rows_of(request) for request in requests])


def _alone(run: Run, request: Tensors, *, batched: bool) -> Tensors | Exception:
    try:
        return _together(run, [request])[0] if batched else run(request)
    except Exception as error:  # noqa: BLE001 - it belongs to this request, not to the server
        return error
