"""Turns Triton's arrays into what ONNX Runtime takes; only text needs converting."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadRequestError

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
"""Arrays by the names of their tensors."""


def to_model(name: str, array: Array) -> Array:
    """An input as ONNX Runtime takes it; an array of numbers is not copied.

    Raises:
        BadRequestError: Text is not UTF-8.
    """
    if array.dtype != np.object_:
        return array
    decoded = np.empty(array.shape, dtype=np.object_)
    try:
        decoded.flat[:] = [item.decode() for item in array.flat]
    except UnicodeDecodeError:
        raise BadRequestError(f"input {name!r} holds text that is not UTF-8") from None
    return decoded


def blank(array: Array) -> Array:
    """Zeros, or empty texts, of an array's shape and type."""
    if array.dtype == np.object_:
        return np.full(array.shape, "", dtype=np.object_)
    return np.zeros_like(array)


def is_empty(tensors: Tensors) -> bool:
    """Tells whether one of the tensors has no elements, which few graphs are tested with."""
    return any(array.size == 0 for array in tensors.values())
