"""Inputs that describe a batch, and outputs that are cut by the shapes of its inputs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from .errors import ConfigError
from .tensors import Array

Shape = tuple[int, ...]

_TYPES = {"TYPE_INT32": np.int32, "TYPE_FP32": np.float32}


def _counts(shapes: Sequence[Shape]) -> list[int]:
    return [math.prod(shape) for shape in shapes]


def _item_shapes(shapes: Sequence[Shape]) -> list[Shape]:
    return [shape[1:] for shape in shapes for _ in range(shape[0])]


def _item_shape_table(shapes: Sequence[Shape]) -> Array:
    return np.array(_item_shapes(shapes)).reshape(-1, len(shapes[0]) - 1)


_KINDS: dict[str, Callable[[Sequence[Shape]], Any]] = {
    "BATCH_ELEMENT_COUNT": _counts,
    "BATCH_ACCUMULATED_ELEMENT_COUNT": lambda shapes: list(accumulate(_counts(shapes))),
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": lambda shapes: list(
        accumulate(_counts(shapes), initial=0)
    ),
    # Only its shape means something.
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": lambda shapes: np.zeros(max(_counts(shapes))),
    "BATCH_ITEM_SHAPE": _item_shape_table,
    "BATCH_ITEM_SHAPE_FLATTEN": lambda shapes: _item_shape_table(shapes).ravel(),
}
"""What each kind says about the shapes of the requests, batch dimension included.

The first three count requests, the last two count rows.
"""


@dataclass(frozen=True)
class BatchInput:
    """An input that the backend makes of the whole batch."""

    kind: str  # what it says about the batch
    targets: tuple[str, ...]  # the model's inputs that get it
    data_type: str
    source: str  # the input whose shapes it describes

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return 2 if self.kind == "BATCH_ITEM_SHAPE" else 1

    def make(self, shapes: Sequence[Shape]) -> Array:
        """Makes the tensor from the source's shape in each request, batch dimension included."""
        return np.asarray(_KINDS[self.kind](shapes), dtype=_TYPES[self.data_type])


@dataclass(frozen=True)
class BatchOutput:
    """An output whose elements belong to the requests by the shapes of an input."""

    target: str
    source: str  # that input
    dims: Shape  # the target's in the config, without the batch dimension

    def scatter(self, array: Array, shapes: Sequence[Shape], *, batched: bool) -> list[Array]:
        """Each request's part of the batch's output, as a view.

        The shapes are those of the source in each request, batch dimension included.

        Raises:
            ValueError: There are fewer elements than the requests need.
        """
        dims = (-1, *self.dims) if batched else self.dims
        wanted = [
            tuple(
                size if size >= 0 else shape[axis] if axis < len(shape) else 0
                for axis, size in enumerate(dims)
            )
            for shape in shapes
        ]
        ends = list(accumulate(_counts(wanted), initial=0))
        flat = array.reshape(-1)
        if ends[-1] > flat.size:
            raise ValueError(
                f"the model gave output {self.target!r} {flat.size} elements "
                f"for requests that need {ends[-1]}"
            )
        return [
            flat[start : start + math.prod(shape)].reshape(shape)
            for start, shape in zip(ends, wanted, strict=False)
        ]


def read_batch_inputs(entries: Sequence[Mapping[str, Any]]) -> tuple[BatchInput, ...]:
    """Reads the entries of `batch_input`.

    Raises:
        ConfigError: A kind or a type is not one of Triton's.
    """
    read: list[BatchInput] = []
    for entry in entries:
        kind = entry.get("kind", "BATCH_ELEMENT_COUNT")
        if kind not in _KINDS:
            raise ConfigError(
                f"batch_input: kind is {kind}: it has to be one of {', '.join(_KINDS)}"
            )
        targets = tuple(entry.get("target_name", []))
        if entry["data_type"] not in _TYPES:
            raise ConfigError(
                f"batch_input {', '.join(targets)}: data_type is {entry['data_type']}: "
                f"it has to be {' or '.join(_TYPES)}"
            )
        source = _only("batch_input", "source_input", entry)
        read.append(BatchInput(kind, targets, entry["data_type"], source))
    return tuple(read)


def read_batch_outputs(
    entries: Sequence[Mapping[str, Any]], outputs: Mapping[str, Shape]
) -> tuple[BatchOutput, ...]:
    """Reads the entries of `batch_output`, with the declared dimensions of each output.

    Raises:
        ConfigError: An entry does not name one output and one input.
    """
    read: list[BatchOutput] = []
    for entry in entries:
        target = _only("batch_output", "target_name", entry)
        if target not in outputs:
            raise ConfigError(
                f"batch_output: target_name is {target!r}, which is not among the outputs"
            )
        source = _only("batch_output", "source_input", entry)
        read.append(BatchOutput(target, source, outputs[target]))
    return tuple(read)


def _only(where: str, field: str, entry: Mapping[str, Any]) -> str:
    names = list(entry.get(field, []))
    if len(names) != 1:
        raise ConfigError(f"{where}: {field} is {names}: it has to be one name")
    return str(names[0])
