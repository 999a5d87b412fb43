"""Checks, when a model is loaded, that its config and the ONNX file describe the same tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .config import DYNAMIC, BackendConfig, TensorConfig
from .errors import ConfigError

_TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


@dataclass(frozen=True)
class ModelTensor:
    """An input or output as the ONNX file describes it.

    Attributes:
        name: the tensor's name.
        onnx_type: ONNX Runtime's name of the type, such as `tensor(float)`.
        shape: all dimensions, -1 for a variable one; None where the file gives none.
    """

    name: str
    onnx_type: str
    shape: tuple[int, ...] | None

    @classmethod
    def from_session(cls, argument: Any) -> ModelTensor:
        """Reads one of a session's `get_inputs()` or `get_outputs()`.

        Args:
            argument: ONNX Runtime's description.

        Returns:
            The same, with -1 for every variable dimension.
        """
        shape = argument.shape
        if shape is not None:
            shape = tuple(
                size if isinstance(size, int) and size >= 0 else DYNAMIC for size in shape
            )
        return cls(argument.name, argument.type, shape)


def check_fit(
    config: BackendConfig, inputs: Sequence[ModelTensor], outputs: Sequence[ModelTensor]
) -> None:
    """Checks names, types and shapes.

    Args:
        config: what the config declares.
        inputs: the model's inputs, each of which the config has to declare.
        outputs: the model's outputs, of which the config may leave some out.

    Raises:
        ConfigError: names the field, what it says and what the model says.
    """
    _check_side("input", config.inputs, inputs, batched=config.max_batch_size > 0)
    _check_side("output", config.outputs, outputs, batched=config.max_batch_size > 0)
    missing = {tensor.name for tensor in inputs} - {tensor.name for tensor in config.inputs}
    if missing:
        raise ConfigError(
            f"input: the config does not declare {_names(missing)}, which the model needs"
        )


def _check_side(
    side: str, declared: Iterable[TensorConfig], given: Sequence[ModelTensor], *, batched: bool
) -> None:
    by_name = {tensor.name: tensor for tensor in given}
    for tensor in declared:
        model = by_name.get(tensor.name)
        if model is None:
            raise ConfigError(
                f"{side} {tensor.name!r} is not in the model, whose {side}s are {_names(by_name)}"
            )
        _check_type(side, tensor, model)
        if model.shape is not None:
            _check_shape(side, tensor, model.shape, batched=batched)


def _check_type(side: str, tensor: TensorConfig, model: ModelTensor) -> None:
    expected = _TRITON_TYPES.get(model.onnx_type)
    if expected is None:
        raise ConfigError(
            f"{side} {tensor.name!r}: the model has {model.onnx_type}, which Triton does not share"
        )
    if tensor.data_type != expected:
        raise ConfigError(
            f"{side} {tensor.name!r}: data_type is {tensor.data_type}, the model has {expected}"
        )


def _check_shape(side: str, tensor: TensorConfig, shape: tuple[int, ...], *, batched: bool) -> None:
    where = f"{side} {tensor.name!r}"
    if batched:
        if not shape or shape[0] != DYNAMIC:
            raise ConfigError(
                f"{where}: max_batch_size is above 0, so the first dimension has to be variable, "
                f"and the model has {list(shape)}"
            )
        shape = shape[1:]
    fits = len(shape) == len(tensor.dims) and all(
        size in (DYNAMIC, dim) for size, dim in zip(shape, tensor.dims, strict=True)
    )
    if not fits:
        after = " after the batch dimension" if batched else ""
        raise ConfigError(
            f"{where}: dims are {list(tensor.dims)}, the model has {list(shape)}{after}"
        )


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
