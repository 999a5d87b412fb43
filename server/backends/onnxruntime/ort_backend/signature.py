"""Checks, when a model is loaded, that its config and the ONNX file describe the same tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .config import DYNAMIC, BackendConfig, TensorConfig
from .errors import ConfigError
from .ragged import BatchInput
from .sequences import SequenceConfig

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
_BFLOAT16 = "tensor(bfloat16)"


@dataclass(frozen=True)
class ModelTensor:
    """An input or output as the ONNX file describes it."""

    name: str
    onnx_type: str  # ONNX Runtime's name of it, such as `tensor(float)`
    shape: tuple[int, ...] | None  # -1 for a variable dimension; None where the file gives none

    @classmethod
    def from_session(cls, argument: Any) -> ModelTensor:
        """Reads one of a session's `get_inputs()` or `get_outputs()`."""
        shape = argument.shape
        if shape is not None:
            shape = tuple(
                size if isinstance(size, int) and size >= 0 else DYNAMIC for size in shape
            )
        return cls(argument.name, argument.type, shape)


_Side = Mapping[str, ModelTensor]
"""The inputs or the outputs of a model, by their names."""


@dataclass(frozen=True)
class ModelTensors:
    """All inputs and outputs of an ONNX file, by their names."""

    inputs: _Side  # that every run needs
    overridable: _Side  # initializers that a run may replace
    outputs: _Side

    @classmethod
    def of(cls, session: Any) -> ModelTensors:
        """The tensors of an InferenceSession."""

        def by_name(arguments: Iterable[Any]) -> dict[str, ModelTensor]:
            return {a.name: ModelTensor.from_session(a) for a in arguments}

        return cls(
            by_name(session.get_inputs()),
            by_name(session.get_overridable_initializers()),
            by_name(session.get_outputs()),
        )

    @property
    def scalar_inputs(self) -> list[str]:
        """The inputs without any dimension."""
        return [
            t.name for t in (*self.inputs.values(), *self.overridable.values()) if t.shape == ()
        ]

    @property
    def scalar_outputs(self) -> list[str]:
        """The outputs without any dimension."""
        return [t.name for t in self.outputs.values() if t.shape == ()]


def check_signature(config: BackendConfig, model: ModelTensors) -> None:
    """Checks names, types and shapes; a config provides each input and may leave out outputs.

    Raises:
        ConfigError: Names the field, what it says and what the model says.
    """
    inputs = {**model.inputs, **model.overridable}
    for tensor in config.inputs:
        _check_input(tensor, inputs, batched=config.batched)
        if tensor.optional and tensor.name not in model.overridable:
            raise ConfigError(
                f"input {tensor.name!r}: optional is true, and the model has no initializer of "
                "that name to take its place"
            )
    _check_outputs(config, model.outputs)
    _check_batch_inputs(config.batch_inputs, inputs)
    if config.sequences is not None:
        _check_sequences(config.sequences, inputs, model.outputs, batched=config.batched)
    if missing := set(model.inputs) - _provided(config):
        raise ConfigError(
            f"input: the config does not declare {_names(missing)}, which the model needs"
        )


def _provided(config: BackendConfig) -> set[str]:
    names = {tensor.name for tensor in config.inputs}
    names.update(target for entry in config.batch_inputs for target in entry.targets)
    if config.sequences is not None:
        names.update(control.name for control in config.sequences.controls)
        names.update(state.input_name for state in config.sequences.states)
    return names


def _check_input(tensor: TensorConfig, inputs: _Side, *, batched: bool) -> None:
    where, found = _find("input", tensor.name, tensor.data_type, inputs)
    if not tensor.ragged:
        _check_shape(where, tensor.dims, found, batched=batched, exact=False)
    elif found.shape is not None and found.shape != (DYNAMIC,):
        raise ConfigError(
            f"{where}: allow_ragged_batch is true, so the model has to take [-1], and it has "
            f"{list(found.shape)}"
        )


def _check_outputs(config: BackendConfig, outputs: _Side) -> None:
    scattered = {entry.target for entry in config.batch_outputs}
    for tensor in config.outputs:
        where, found = _find("output", tensor.name, tensor.data_type, outputs, "outputs")
        if tensor.name not in scattered:
            _check_shape(where, tensor.dims, found, batched=config.batched, exact=True)
        elif tensor.data_type == "TYPE_STRING":
            raise ConfigError(
                f"batch_output: target_name is {tensor.name!r}, whose data_type is TYPE_STRING; "
                "only numbers can be scattered"
            )


def _check_batch_inputs(entries: Iterable[BatchInput], inputs: _Side) -> None:
    for entry in entries:
        for target in entry.targets:
            where, found = _find("batch_input", target, entry.data_type, inputs)
            shape = found.shape
            if shape is not None and (len(shape) != entry.rank or shape[0] != DYNAMIC):
                raise ConfigError(
                    f"{where}: {entry.kind} has shape {[DYNAMIC] * entry.rank}, "
                    f"the model has {list(shape)}"
                )


def _check_sequences(
    sequences: SequenceConfig, inputs: _Side, outputs: _Side, *, batched: bool
) -> None:
    field = "sequence_batching.control_input"
    for control in sequences.controls:
        where, found = _find(field, control.name, control.data_type, inputs)
        _check_shape(where, (1,), found, batched=batched, exact=False)
    field = "sequence_batching.state"
    for state in sequences.states:
        where, found = _find(field, state.input_name, state.data_type, inputs)
        _check_shape(where, state.dims, found, batched=batched, exact=False)
        where, found = _find(field, state.output_name, state.data_type, outputs, "outputs")
        _check_shape(where, state.dims, found, batched=batched, exact=False)


def _find(
    field: str, name: str, data_type: str, tensors: _Side, side: str = "inputs"
) -> tuple[str, ModelTensor]:
    """The model's tensor of that name and type, after the words for it in an error."""
    where = f"{field} {name!r}"
    found = tensors.get(name)
    if found is None:
        raise ConfigError(f"{where} is not in the model, whose {side} are {_names(tensors)}")
    if found.onnx_type == _BFLOAT16:
        raise ConfigError(
            f"{where}: the model has TYPE_BF16, which Triton does not hand to Python-based "
            "backends as an array: cast it to FP32 inside the model"
        )
    expected = _TRITON_TYPES.get(found.onnx_type)
    if expected is None:
        raise ConfigError(f"{where}: the model has {found.onnx_type}, which Triton does not share")
    if data_type != expected:
        raise ConfigError(f"{where}: data_type is {data_type}, the model has {expected}")
    return where, found


def _check_shape(
    where: str, dims: tuple[int, ...], model: ModelTensor, *, batched: bool, exact: bool
) -> None:
    shape = model.shape
    if shape is None:
        return
    if batched:
        if not shape or shape[0] != DYNAMIC:
            raise ConfigError(
                f"{where}: max_batch_size is above 0, so the first dimension has to be variable, "
                f"and the model has {list(shape)}"
            )
        shape = shape[1:]
    elif not shape:
        # A scalar; Triton knows none, and shows it as a tensor of one element.
        if any(size != 1 for size in dims):
            raise ConfigError(f"{where}: dims are {list(dims)}, the model has a scalar: say [1]")
        return
    fits = len(shape) == len(dims) and all(
        size == dim or (size == DYNAMIC and not exact)
        for size, dim in zip(shape, dims, strict=True)
    )
    if not fits:
        after = " after the batch dimension" if batched else ""
        raise ConfigError(f"{where}: dims are {list(dims)}, the model has {list(shape)}{after}")


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))
