"""Models as Triton would describe them, and requests that they take."""

from __future__ import annotations

from typing import Any

from server.guard.bounds import InputBounds
from server.guard.descriptions import Description, InputDescription, OutputDescription
from server.guard.inference import Inference, RequestedOutput, Scalar, Tensor


def description(
    *inputs: InputDescription, max_batch_size: int = 8, outputs: tuple[Any, ...] = ()
) -> Description:
    """A model named `m` with these inputs."""
    return Description(
        name="m",
        version="1",
        max_batch_size=max_batch_size,
        inputs={each.name: each for each in inputs},
        outputs={name: OutputDescription(name, kind, dims) for name, kind, dims in outputs},
        required=frozenset(each.name for each in inputs if not each.optional),
    )


def takes(
    datatype: str, *dims: int, name: str = "x", optional: bool = False, **bounds: Any
) -> InputDescription:
    """An input with these bounds."""
    made = InputBounds(**bounds) if bounds else None
    return InputDescription(name, datatype, dims, optional, made)


def request(
    *inputs: Tensor,
    outputs: tuple[RequestedOutput, ...] = (),
    id: str = "",
    **parameters: Scalar,
) -> Inference:
    """A request to `m`."""
    return Inference("m", "", id, parameters, inputs, outputs)


def tensor(datatype: str, shape: tuple[Any, ...], data: Any, name: str = "x") -> Tensor:
    """A tensor of a request."""
    return Tensor(name, datatype, shape, data)
