"""Reads Triton's requests and writes its responses; the only part that knows its Python API."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .errors import BadRequestError, explain, is_from_onnxruntime
from .tensors import Array, Tensors, to_model

_LONGEST_LABEL = 64
"""Characters; longer texts hardly come twice."""


def _serialize(array: Array) -> bytes | tuple[()]:
    if array.size == 0:
        return ()  # what the stub knows an empty tensor by
    parts: list[bytes] = []
    for item in array.flat:
        data = item if isinstance(item, bytes) else str(item).encode()
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


# The stub asks this function for every output of text. The one that it brings takes
# as long as everything else in a small answer together.
pb_utils.serialize_byte_tensor = _serialize


def inputs_of(request: Any) -> Tensors:
    """Reads a request's inputs, as views of the memory that Triton put them in.

    Args:
        request: the request.

    Returns:
        The arrays by name.

    Raises:
        BadRequestError: text is not UTF-8.
    """
    arrays = ((tensor.name(), tensor.as_numpy()) for tensor in request.inputs())
    return {name: to_model(name, array) for name, array in arrays}


def answer(outputs: Tensors, requested: Iterable[str]) -> Any:
    """Writes the response to a request that was computed.

    Args:
        outputs: its outputs.
        requested: the names of those that it asked for.

    Returns:
        The InferenceResponse.
    """
    return pb_utils.InferenceResponse([_tensor(name, outputs[name]) for name in requested])


def _tensor(name: str, array: Array) -> Any:
    if (
        array.dtype == np.object_
        and array.size == 1
        and len(text := array.item()) <= _LONGEST_LABEL
    ):
        return _label(name, text, array.shape)
    return pb_utils.Tensor(name, array)


@lru_cache(maxsize=256)
def _label(name: str, text: str | bytes, shape: tuple[int, ...]) -> Any:
    """Makes a tensor of one text once; a classifier gives the same few again and again.

    Args:
        name: the output's name.
        text: what it says.
        shape: its shape, of one element.

    Returns:
        The tensor, which any number of responses may hold.
    """
    return pb_utils.Tensor(name, np.array([text], dtype=np.object_).reshape(shape))


def forget_labels() -> None:
    """Lets go of tensors while the memory that they lie in is still there."""
    _label.cache_clear()


def nothing() -> Any:
    """Writes the response to a request that nobody waits for.

    Returns:
        The InferenceResponse.
    """
    return pb_utils.InferenceResponse([])


def refusal(error: Exception) -> Any:
    """Writes the response to a request that could not be computed.

    Args:
        error: why not.

    Returns:
        The InferenceResponse: INVALID_ARG where the request's own values are the cause.
    """
    theirs = isinstance(error, BadRequestError) or is_from_onnxruntime(error)
    code = pb_utils.TritonError.INVALID_ARG if theirs else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(explain(error), code))


def cancellation() -> Any:
    """Writes the response to a request whose caller has gone.

    Returns:
        The InferenceResponse.
    """
    error = pb_utils.TritonError("the caller cancelled", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)
