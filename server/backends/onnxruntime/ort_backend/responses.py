"""Reads Triton's requests and writes its responses; the only part that knows its Python API."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from .errors import explain, is_callers_fault
from .tensors import Array, Tensors, to_model

_MAX_LABEL = 64
"""In characters; a longer text hardly comes twice."""


def _serialize(array: Array) -> bytes | tuple[()]:
    if array.size == 0:
        return ()  # what the stub knows an empty tensor by
    parts: list[bytes] = []
    for item in array.flat:
        data = item if isinstance(item, bytes) else str(item).encode()
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


# The stub calls this function for every output of text. Its own takes as long as
# everything else in a small answer together.
pb_utils.serialize_byte_tensor = _serialize


def read_inputs(request: Any) -> Tensors:
    """A request's inputs, as views of the memory that Triton put them in.

    Raises:
        BadRequestError: Text is not UTF-8.
    """
    arrays = ((tensor.name(), tensor.as_numpy()) for tensor in request.inputs())
    return {name: to_model(name, array) for name, array in arrays}


def success(outputs: Tensors, requested: Iterable[str]) -> Any:
    """The InferenceResponse to a request that was computed and asked for these outputs."""
    return pb_utils.InferenceResponse([_tensor(name, outputs[name]) for name in requested])


def _tensor(name: str, array: Array) -> Any:
    if array.dtype == np.object_ and array.size == 1 and len(text := array.item()) <= _MAX_LABEL:
        return _label(name, text, array.shape)
    return pb_utils.Tensor(name, array)


@lru_cache(maxsize=256)
def _label(name: str, text: str | bytes, shape: tuple[int, ...]) -> Any:
    # A classifier gives the same few again and again; any number of responses may hold one.
    return pb_utils.Tensor(name, np.array([text], dtype=np.object_).reshape(shape))


def clear_labels() -> None:
    """Drops the cached tensors while the memory that they lie in is still there."""
    _label.cache_clear()


def no_outputs() -> Any:
    """The InferenceResponse to a request that nobody waits for."""
    return pb_utils.InferenceResponse([])


def failure(error: Exception) -> Any:
    """The InferenceResponse to a request that an error kept from being computed.

    Its code is INVALID_ARG where the request's own values are the cause, else INTERNAL.
    """
    theirs = is_callers_fault(error)
    code = pb_utils.TritonError.INVALID_ARG if theirs else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(explain(error), code))


def cancelled() -> Any:
    """The InferenceResponse to a request whose caller has gone."""
    error = pb_utils.TritonError("the caller cancelled", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)
