"""Makes one batch of several requests and takes its outputs apart again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np

from .tensors import Tensors


def rows_of(request: Tensors) -> int:
    """Counts the rows of a request, which are the same for all its inputs.

    Args:
        request: its inputs.

    Returns:
        The size of their first dimension.
    """
    return len(next(iter(request.values())))


def join(requests: Sequence[Tensors]) -> Tensors:
    """Puts the rows of all requests one below the other.

    Args:
        requests: their inputs, of the same names and the same shapes but for the rows.

    Returns:
        The inputs of the batch; those of a single request are not copied.
    """
    if len(requests) == 1:
        return requests[0]
    return {name: np.concatenate([one[name] for one in requests]) for name in requests[0]}


def split(outputs: Tensors, rows: Sequence[int]) -> list[Tensors]:
    """Gives each request its rows of every output, as views.

    Args:
        outputs: the outputs of the batch.
        rows: the rows of each request.

    Returns:
        The outputs of each request.

    Raises:
        ValueError: an output has not as many rows as the batch.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != total:
            raise ValueError(
                f"the model gave output {name!r} of shape {list(array.shape)} "
                f"for a batch of {total} rows"
            )
    ends = pairwise(accumulate(rows, initial=0))
    return [{name: array[start:end] for name, array in outputs.items()} for start, end in ends]
