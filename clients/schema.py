"""A model's inputs and outputs, and whether a request fits them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import np_to_triton_dtype

from clients.errors import InvalidInputError, ServerError

_IN_NUMPY = {"BF16": "FP32"}
"""What tritonclient makes of a type that numpy does not have."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output as the model's config declares it."""

    name: str
    datatype: str  # for example ``FP32`` or ``BYTES``
    shape: tuple[int, ...]  # with the batch's dimension; -1 takes any size
    optional: bool = False

    def __str__(self) -> str:
        return describe(self.datatype, self.shape)

    def fits(self, array: NDArray[Any]) -> bool:
        """Whether the array has this datatype and shape."""
        return (
            datatype_of(array) == _IN_NUMPY.get(self.datatype, self.datatype)
            and array.ndim == len(self.shape)
            and all(size in (-1, got) for size, got in zip(self.shape, array.shape, strict=True))
        )


@dataclass(frozen=True)
class ModelSchema:
    """A model's batch size, and its inputs and outputs by name."""

    model: str
    max_batch_size: int  # of one request; 0 if the model has no batches
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelSchema":
        """Reads the model configuration that Triton answers with, as JSON.

        Over gRPC the JSON holds 64-bit integers as text and leaves zeros out; both
        forms are read.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: It is no such configuration.
        """
        max_batch_size = int(config.get("max_batch_size", 0))
        batch = (-1,) if max_batch_size else ()

        def specs(kind: str) -> dict[str, TensorSpec]:
            return {
                tensor["name"]: TensorSpec(
                    name=tensor["name"],
                    datatype=_datatype(tensor["data_type"]),
                    shape=batch + tuple(int(size) for size in tensor["dims"]),
                    optional=bool(tensor.get("optional", False)),
                )
                for tensor in config.get(kind, [])
            }

        return cls(config["name"], max_batch_size, specs("input"), specs("output"))

    def check(self, inputs: Mapping[str, NDArray[Any]], outputs: tuple[str, ...]) -> None:
        """Checks one request before it is sent.

        Raises:
            InvalidInputError: It does not fit; the message names the tensor, what was
                expected and what was given.
        """
        for name, array in inputs.items():
            if name not in self.inputs:
                known = ", ".join(f"'{spec.name}' {spec}" for spec in self.inputs.values())
                raise self._refused(f"no input '{name}'; expected {known}")
            spec = self.inputs[name]
            if not spec.fits(array):
                got = describe(datatype_of(array), array.shape)
                raise self._refused(f"input '{name}': expected {spec}, got {got}")
        for spec in self.inputs.values():
            if spec.name not in inputs and not spec.optional:
                raise self._refused(f"input '{spec.name}' is missing; expected {spec}")
        for name in outputs:
            if name not in self.outputs:
                known = ", ".join(f"'{output}'" for output in self.outputs)
                raise self._refused(f"no output '{name}'; the model gives {known}")
        if self.max_batch_size:
            self._check_rows(inputs)

    def check_answer(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Checks what the server answered, by the names of outputs that the model has.

        Raises:
            ServerError: It is not what the model's config promises.
        """
        for name, array in outputs.items():
            spec = self.outputs[name]
            if not spec.fits(array):
                got = describe(datatype_of(array), array.shape)
                raise ServerError(f"output '{name}': expected {spec}, got {got}", self.model)

    def _check_rows(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        rows = {name: len(array) for name, array in inputs.items()}
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"'{name}' {count}" for name, count in rows.items())
            raise self._refused(f"the inputs differ in their number of rows: {counts}")
        for name, count in rows.items():
            if not 1 <= count <= self.max_batch_size:
                limit = f"expected 1 to {self.max_batch_size} rows in one request"
                raise self._refused(f"input '{name}': {limit}, got {count}")

    def _refused(self, message: str) -> InvalidInputError:
        return InvalidInputError(message, self.model)


def datatype_of(array: NDArray[Any]) -> str:
    """Triton's name for the array's type, or numpy's where Triton has none."""
    if array.dtype.kind in "OSU":
        return "BYTES"
    return np_to_triton_dtype(np.dtype(array.dtype)) or str(array.dtype)


def describe(datatype: str, shape: tuple[int, ...]) -> str:
    """For example ``FP32 [any, 1, 28, 28]``."""
    return f"{datatype} [{', '.join('any' if size == -1 else str(size) for size in shape)}]"


def _datatype(config_name: str) -> str:
    """``TYPE_FP32`` is ``FP32`` in requests, and ``TYPE_STRING`` is ``BYTES``."""
    name = config_name.removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name
