"""Checks a request for inference against what its model takes, before Triton sees any of it.

Refusals say it in Triton's own words where it has a good message for the same. Nothing here
depends on the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.guard.checks.bounds import check_among, check_bounds
from server.guard.checks.data import (
    MAX_NAME,
    check_raw,
    check_shared_memory,
    check_strings,
    packed,
)
from server.guard.checks.options import check_outputs, check_parameters
from server.guard.descriptions import Description, InputDescription
from server.guard.inference import ELEMENT_BYTES, Inference, SharedMemory, Tensor
from server.guard.refusal import invalid, shown

MAX_DIM = (1 << 31) - 1
MAX_ELEMENTS = 1 << 31
"""Of a tensor, also where a dimension of 0 makes the data vanish."""


def check_inference(inference: Inference, description: Description) -> Inference:
    """Checks all of a request.

    Args:
        inference: The request; its shared memory, if any, is open.
        description: What is served under the model and version that it names.

    Returns:
        The request with raw data in place of lists of values; itself where it has none.

    Raises:
        Refusal: 400 / INVALID_ARGUMENT, in words.
    """
    if len(inference.id) > MAX_NAME:
        raise invalid(f"the id has {len(inference.id)} characters, at most {MAX_NAME} are taken")
    if inference.parameters:
        check_parameters(inference.parameters)
    tensors: dict[str, Tensor] = {}
    for tensor in inference.inputs:
        described = description.inputs.get(tensor.name)
        if described is None:
            raise invalid(
                f"unexpected inference input {shown(tensor.name)} for model '{description.name}'"
            )
        if tensor.name in tensors:
            raise invalid(f"input '{tensor.name}' already exists in request")
        tensors[tensor.name] = check_tensor(tensor, described, description)
    if len(tensors) < len(description.inputs) and not description.required <= tensors.keys():
        missing = ", ".join(f"'{name}'" for name in sorted(description.required - tensors.keys()))
        raise invalid(f"missing required input(s) {missing} for model '{description.name}'")
    if description.max_batch_size and len(tensors) > 1:
        _check_same_rows(inference, description)
    for name, tensor in tensors.items():
        bounds = description.inputs[name].bounds
        if bounds is not None:
            check_among(tensor, bounds, tensors, 1 if description.max_batch_size else 0)
    if inference.outputs:
        check_outputs(inference.outputs, description)
    checked = tuple(tensors.values())
    return inference if checked == inference.inputs else replace(inference, inputs=checked)


def check_tensor(tensor: Tensor, described: InputDescription, description: Description) -> Tensor:
    """Checks an input by itself: type, shape, data and bounds.

    Returns:
        The input with raw data; itself where it has that already.

    Raises:
        Refusal: It is not what the model takes.
    """
    name = tensor.name
    if tensor.datatype != described.datatype:
        raise invalid(
            f"inference input '{name}' data-type is {shown(tensor.datatype)}, but model "
            f"'{description.name}' expects '{described.datatype}'"
        )
    elements = check_shape(tensor, described, description)
    data = tensor.data
    if isinstance(data, SharedMemory):
        size = ELEMENT_BYTES.get(described.datatype)
        check_shared_memory(name, data, None if size is None else size * elements)
        return tensor  # what lies there can change until Triton reads it
    if not isinstance(data, (bytes, bytearray, memoryview)):
        data = packed(name, described.datatype, data, elements)
        tensor = Tensor(name, tensor.datatype, tensor.shape, data)
    if described.datatype == "BYTES":
        check_strings(name, data, elements, described.bounds)
    else:
        check_raw(name, described.datatype, data, elements)
    if described.bounds is not None:
        check_bounds(tensor, described.bounds, description)
    return tensor


def check_shape(tensor: Tensor, described: InputDescription, description: Description) -> int:
    """Checks a shape against the config.

    Returns:
        The number of elements.

    Raises:
        Refusal: It does not fit.
    """
    shape, dims = tensor.shape, described.dims
    batched = 1 if description.max_batch_size else 0
    if len(shape) == len(dims) + batched:
        count = 1
        fits = True
        for size, dim in zip(shape, (-1, *dims) if batched else dims, strict=True):
            if type(size) is not int or not 0 <= size <= MAX_DIM:
                raise invalid(
                    f"shape of input '{tensor.name}' has {shown(size)}: each size has to be from "
                    f"0 to {MAX_DIM}"
                )
            fits = fits and (dim in (-1, size))
            count *= size or 1
        if fits:
            if count > MAX_ELEMENTS:
                raise invalid(
                    f"shape of input '{tensor.name}' has {count} elements, at most "
                    f"{MAX_ELEMENTS} are taken"
                )
            if batched and shape[0] > description.max_batch_size:
                raise invalid(
                    f"inference request batch-size must be <= {description.max_batch_size} for "
                    f"'{description.name}', got {shape[0]}"
                )
            if batched and shape[0] == 0:
                raise invalid(
                    f"inference request batch-size must be >= 1 for '{description.name}', got 0"
                )
            return 0 if 0 in shape else count
    expected = ",".join(map(str, (-1, *dims) if batched else dims))
    note = " (the first is the batch dimension)" if batched else ""
    raise invalid(
        f"unexpected shape for input '{tensor.name}' for model '{description.name}'. "
        f"Expected [{expected}]{note}, got {shown_shape(shape)}"
    )


def _check_same_rows(inference: Inference, description: Description) -> None:
    rows = inference.inputs[0].shape[0]
    for tensor in inference.inputs:
        if tensor.shape[0] != rows:
            raise invalid(
                f"input '{tensor.name}' batch size does not match other inputs for "
                f"'{description.name}'"
            )


def shown_shape(shape: Sequence[object]) -> str:
    """A shape as Triton writes it."""
    sizes = ",".join(map(str, shape[:8]))
    return f"[{sizes},...]" if len(shape) > 8 else f"[{sizes}]"
