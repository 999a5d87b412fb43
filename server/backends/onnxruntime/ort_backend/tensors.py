"""Turns Triton's arrays into what ONNX Runtime takes. Only text needs work; numbers pass as is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadRequestError

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
"""Arrays by the names of their tensors."""


def to_model(name: str, array: Array) -> Array:
    """Prepares an input; an array of numbers is handed on without a copy.

    Args:
        name: the input's name.
        array: Triton's view of the request.

    Returns:
        An array that ONNX Runtime takes.

    Raises:
        BadRequestError: text is not UTF-8.
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
    """Makes a tensor that says nothing.

    Args:
        array: what it is to look like.

    Returns:
        Zeros, or empty text, of that shape and type.
    """
    if array.dtype == np.object_:
        return np.full(array.shape, "", dtype=np.object_)
    return np.zeros_like(array)


def is_empty(tensors: Tensors) -> bool:
    """Tells whether a tensor has no elements, which few graphs are tested with.

    Args:
        tensors: the tensors.

    Returns:
        True when one of them has none.
    """
    return any(array.size == 0 for array in tensors.values())
