"""Checks the values of inputs against the bounds of their model."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, prod
from typing import Any

import numpy as np

from server.guard.bounds import InputBounds
from server.guard.checks.data import LENGTH
from server.guard.descriptions import Description
from server.guard.inference import NUMPY_TYPES, SharedMemory, Tensor
from server.guard.refusal import invalid

_SMALL = 4096
"""Elements that are multiplied at once, too few for threads."""


def check_bounds(tensor: Tensor, bounds: InputBounds, description: Description) -> None:
    """Checks what concerns one input only, whose raw data is there."""
    name = tensor.name
    if tensor.datatype == "BYTES":
        _check_lengths(tensor, bounds)
        return
    if bounds.min_length is not None or bounds.max_length is not None:
        length = prod(tensor.shape[1:] if description.max_batch_size else tensor.shape)
        lowest, highest = bounds.min_length or 0, bounds.max_length or inf
        if not lowest <= length <= highest:
            unit = "tokens" if bounds.tokenizer else "elements"
            raise invalid(f"{name} must have from {lowest} to {highest} {unit}, it has {length}")
    if not _is_in_range(tensor, bounds):
        raise invalid(f"{name} must be {_range_in_words(bounds)}")
    # What lies between two bounds is finite.
    if bounds.finite and None in (bounds.min, bounds.max) and not _is_finite(tensor):
        raise invalid(f"{name} must be finite, it has NaN or infinite values")


def check_among(
    tensor: Tensor, bounds: InputBounds, tensors: Mapping[str, Tensor], batched: int
) -> None:
    """Checks what concerns two inputs."""
    if (other := tensors.get(bounds.same_shape_as)) and tensor.shape != other.shape:
        raise invalid(f"{tensor.name} must have the shape of {other.name}")
    if (other := tensors.get(bounds.at_most_length_of)) and not isinstance(
        tensor.data, SharedMemory
    ):
        length = prod(other.shape[batched:])
        lowest, highest = _range(tensor)
        if not (lowest >= 0 and highest <= length):
            raise invalid(f"{tensor.name} must be from 0 to the number of {other.name}")


def _check_lengths(tensor: Tensor, bounds: InputBounds) -> None:
    total = len(tensor.raw()) - LENGTH.size * prod(tensor.shape)
    if bounds.max_total_bytes is not None and total > bounds.max_total_bytes:
        raise invalid(
            f"{tensor.name} has {total} bytes in all rows, at most {bounds.max_total_bytes} "
            "are taken"
        )


def _is_in_range(tensor: Tensor, bounds: InputBounds) -> bool:
    if bounds.min is None and bounds.max is None:
        return True
    lowest, highest = _range(tensor)
    # NaN is neither.
    return (bounds.min is None or lowest >= bounds.min) and (
        bounds.max is None or highest <= bounds.max
    )


def _range_in_words(bounds: InputBounds) -> str:
    what = "token ids " if bounds.tokenizer else "finite and " if bounds.finite else ""
    limits = [f"from {bounds.min}"] if bounds.min is not None else []
    limits += [f"to {bounds.max}"] if bounds.max is not None else []
    return what + " ".join(limits)


def _is_finite(tensor: Tensor) -> bool:
    array = np.frombuffer(tensor.raw(), NUMPY_TYPES[tensor.datatype])
    # A sum of squares is quickest, and finite only if all are; large ones overflow it.
    if array.size <= _SMALL and array.itemsize > 2 and isfinite(array.dot(array)):
        return True
    return bool(np.isfinite(array).all())


def _range(tensor: Tensor) -> tuple[Any, Any]:
    """The smallest and the largest element; NaN if there is one, and 0 if there are none."""
    array = np.frombuffer(tensor.raw(), NUMPY_TYPES[tensor.datatype])
    return (array.min(), array.max()) if array.size else (0, 0)
