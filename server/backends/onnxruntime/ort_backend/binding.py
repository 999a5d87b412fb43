"""Runs a session on tensors that are bound to the device where it computes.

`session.run` copies every input from memory that may be paged out, and every output by itself.
Here inputs are copied from page-locked memory, and outputs stay on the device until all are there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from .accelerators import captures_cuda_graph
from .config import BackendConfig
from .errors import ConfigError
from .host_memory import Allocate, PinnedMemory, Staging, pageable
from .session import Device, run_options
from .signature import ModelTensor, ModelTensors
from .tensors import Tensors

Run = Callable[[Sequence[str], Tensors], Tensors]
"""Computes the named outputs from the inputs."""

_TEXT = "tensor(string)"
_NUMPY_TYPES = {
    "tensor(bool)": np.bool_,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    **{
        f"tensor({sign}int{bits})": np.dtype(f"{sign}int{bits}").type
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
}


class ChosenRun(NamedTuple):
    """How an instance runs its session."""

    run: Run
    bound: bool  # whether tensors are bound to the device
    pinned: bool  # whether inputs are copied from page-locked memory


def choose_run(
    session: ort.InferenceSession, config: BackendConfig, device: Device, tensors: ModelTensors
) -> ChosenRun:
    """Binds tensors on a GPU, unless the config says otherwise; on a processor it does not pay.

    ONNX Runtime binds no text, so that a model that takes some runs without binding.

    Raises:
        ConfigError: A CUDA graph is asked for, and the model cannot have one.
    """
    options = run_options(config.session)
    on_gpu = device.kind == "GPU"
    if on_gpu and captures_cuda_graph(config.session.gpu_accelerators):
        fixed = FixedRun(session, options, tensors, device)
        return ChosenRun(fixed, bound=True, pinned=False)
    wanted = on_gpu if config.session.binding is None else config.session.binding
    taken = (*tensors.inputs.values(), *tensors.overridable.values())
    if not wanted or any(tensor.onnx_type == _TEXT for tensor in taken):
        return ChosenRun(plain_run(session, options), bound=False, pinned=False)
    allocate: Allocate = pageable
    if on_gpu:
        # Ordinary memory serves as well, only slower.
        with contextlib.suppress(OSError, MemoryError, AttributeError):
            allocate = PinnedMemory(device.number)
    bound = BoundRun(session, options, tensors, device, allocate)
    return ChosenRun(bound, bound=True, pinned=allocate is not pageable)


def plain_run(session: ort.InferenceSession, options: ort.RunOptions | None) -> Run:
    """Runs a session without binding anything."""

    def run(names: Sequence[str], feed: Tensors) -> Tensors:
        return dict(zip(names, session.run(names, feed, options), strict=True))

    return run


class BoundRun:
    """Binds the tensors of each run anew, whatever their shapes; inputs are numbers.

    Args:
        session: What runs.
        options: Of every run.
        tensors: The session's inputs and outputs.
        device: What it computes on.
        allocate: Where inputs lie before they are copied to it.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        options: ort.RunOptions | None,
        tensors: ModelTensors,
        device: Device,
        allocate: Allocate,
    ) -> None:
        self._session = session
        self._options = options
        self._staging = Staging(allocate)
        self._overridable = frozenset(tensors.overridable)
        place = device.ort_name, device.number
        # Texts lie in the processor's memory only.
        self._places = {
            name: ("cpu", 0) if output.onnx_type == _TEXT else place
            for name, output in tensors.outputs.items()
        }

    def __call__(self, names: Sequence[str], feed: Tensors) -> Tensors:
        """Computes the named outputs from the inputs."""
        binding = self._session.io_binding()
        for name, array in feed.items():
            staged = self._staging.copy(name, array)
            if name in self._overridable:  # bind_cpu_input knows none of these
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(staged))
            else:
                binding.bind_cpu_input(name, staged)
        for name in names:
            binding.bind_output(name, *self._places[name])
        self._session.run_with_iobinding(binding, self._options)
        # One by one: copying all at once ends the process where one is a text.
        arrays = (value.numpy() for value in binding.get_outputs())
        return dict(zip(names, arrays, strict=True))


class FixedRun:
    """Runs on the same device memory again and again, as a captured CUDA graph has to.

    Args:
        session: What runs; all its shapes are fixed.
        options: Of every run.
        tensors: The session's inputs and outputs.
        device: What it computes on.

    Raises:
        ConfigError: A shape is variable, or a tensor is a text.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        options: ort.RunOptions | None,
        tensors: ModelTensors,
        device: Device,
    ) -> None:
        check_fixed(tensors)
        self._session = session
        self._options = options
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        for name, tensor in tensors.inputs.items():
            self._inputs[name] = _on_device(tensor, device)
            self._binding.bind_ortvalue_input(name, self._inputs[name])
        for name, tensor in tensors.outputs.items():
            self._outputs[name] = _on_device(tensor, device)
            self._binding.bind_ortvalue_output(name, self._outputs[name])

    def __call__(self, names: Sequence[str], feed: Tensors) -> Tensors:
        """Computes the named outputs from the inputs."""
        for name, array in feed.items():
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
        self._session.run_with_iobinding(self._binding, self._options)
        # Copies: on the processor the arrays would be the memory that the next run writes.
        return {name: np.array(self._outputs[name].numpy()) for name in names}


def _on_device(tensor: ModelTensor, device: Device) -> Any:
    shape, kind = list(tensor.shape or ()), _NUMPY_TYPES[tensor.onnx_type]
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, device.ort_name, device.number)


def check_fixed(tensors: ModelTensors) -> None:
    """Checks that a CUDA graph can be captured: it replays one shape, without texts.

    Raises:
        ConfigError: Names the tensor that has a variable shape, or is a text.
    """
    captured = "execution_accelerators: cuda has enable_cuda_graph, which replays one shape"
    if tensors.overridable:
        raise ConfigError(f"{captured}, and {next(iter(tensors.overridable))!r} may be left out")
    for tensor in (*tensors.inputs.values(), *tensors.outputs.values()):
        if tensor.onnx_type not in _NUMPY_TYPES:
            raise ConfigError(f"{captured}, and {tensor.name!r} is {tensor.onnx_type}")
        if tensor.shape is None or any(size < 0 for size in tensor.shape):
            raise ConfigError(
                f"{captured}, and {tensor.name!r} has a variable one: "
                f"{list(tensor.shape) if tensor.shape is not None else 'the model gives none'}"
            )
