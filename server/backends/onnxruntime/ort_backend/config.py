"""Reads a model's config, and refuses what this backend cannot do as the C++ one does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError

DYNAMIC = -1
"""A dimension that a request decides."""

_PARAMETERS = ("intra_op_thread_count", "inter_op_thread_count", "execution_mode")
_GRAPH_LEVELS = {0: "all", -1: "basic", 1: "extended", 2: "disabled"}


@dataclass(frozen=True)
class TensorConfig:
    """An input or output as the config declares it.

    Attributes:
        name: the tensor's name.
        data_type: Triton's name of the type, such as `TYPE_FP32`.
        dims: its shape as the model sees it, without the batch dimension.
    """

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ThreadConfig:
    """How many threads compute; 0 leaves the number to the backend.

    Attributes:
        intra_op: threads that share one operator.
        inter_op: operators that run side by side.
        parallel: whether operators run side by side at all.
    """

    intra_op: int = 0
    inter_op: int = 0
    parallel: bool = False


@dataclass(frozen=True)
class BackendConfig:
    """What the backend needs to know of a model's config.

    Attributes:
        inputs: the declared inputs.
        outputs: the declared outputs.
        max_batch_size: 0 for a model whose tensors have no batch dimension.
        model_filename: the file in the version's folder.
        threads: the threads of each instance.
        graph_level: `all`, `extended`, `basic` or `disabled`.
        instances_on_cpu: how many instances share the processor's cores.
    """

    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    max_batch_size: int
    model_filename: str
    threads: ThreadConfig
    graph_level: str
    instances_on_cpu: int


def read_config(config: Mapping[str, Any]) -> BackendConfig:
    """Reads a model's config.

    Args:
        config: the config as Triton hands it over, parsed from JSON.

    Returns:
        What the backend needs of it.

    Raises:
        ConfigError: it asks for something that this backend does not do.
    """
    _refuse_unsupported(config)
    optimization = config.get("optimization", {})
    level = int(optimization.get("graph", {}).get("level", 0))
    if level not in _GRAPH_LEVELS:
        raise ConfigError(
            f"optimization.graph.level is {level}: it has to be -1 (basic), 1 (extended), "
            "2 (disabled), or absent for all optimizations"
        )
    return BackendConfig(
        inputs=_tensors("input", config.get("input", [])),
        outputs=_tensors("output", config.get("output", [])),
        max_batch_size=int(config.get("max_batch_size", 0)),
        model_filename=config.get("default_model_filename") or "model.onnx",
        threads=_threads(config.get("parameters", {})),
        graph_level=_GRAPH_LEVELS[level],
        instances_on_cpu=_instances_on_cpu(config.get("instance_group", [])),
    )


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise ConfigError(
            "model_transaction_policy.decoupled is true: an ONNX model gives one answer a request"
        )
    if config.get("sequence_batching", {}).get("state"):
        raise ConfigError("sequence_batching.state: this backend keeps no state yet")
    for field in ("batch_input", "batch_output"):
        if config.get(field):
            raise ConfigError(f"{field}: this backend does not make ragged batches yet")
    for tensor in config.get("input", []):
        for field in ("allow_ragged_batch", "optional", "is_shape_tensor"):
            if tensor.get(field):
                raise ConfigError(
                    f"input {tensor['name']!r}: {field} is true, which this backend does not do yet"
                )
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for field, names in accelerators.items():
        for accelerator in names:
            # CUDA is what a GPU instance computes with in any case.
            if accelerator["name"] != "cuda" or accelerator.get("parameters"):
                raise ConfigError(
                    f"optimization.execution_accelerators.{field} names {accelerator['name']!r}: "
                    "this backend knows 'cuda', without parameters"
                )


def _tensors(field: str, entries: list[dict[str, Any]]) -> tuple[TensorConfig, ...]:
    if not entries:
        raise ConfigError(f"{field}: the config declares none, and each one has to be declared")
    tensors: list[TensorConfig] = []
    for entry in entries:
        reshape = entry.get("reshape")
        dims = reshape.get("shape", []) if reshape is not None else entry["dims"]
        tensors.append(TensorConfig(entry["name"], entry["data_type"], tuple(map(int, dims))))
    return tuple(tensors)


def _threads(parameters: Mapping[str, Mapping[str, str]]) -> ThreadConfig:
    for name in parameters:
        if name not in _PARAMETERS:
            raise ConfigError(
                f"parameter {name!r} is not known; this backend knows {', '.join(_PARAMETERS)}"
            )
    mode = _whole_number(parameters, "execution_mode")
    if mode > 1:
        raise ConfigError(
            f"parameter 'execution_mode' is '{mode}': it has to be 0 (sequential) or 1 (parallel)"
        )
    return ThreadConfig(
        intra_op=_whole_number(parameters, "intra_op_thread_count"),
        inter_op=_whole_number(parameters, "inter_op_thread_count"),
        parallel=mode == 1,
    )


def _whole_number(parameters: Mapping[str, Mapping[str, str]], name: str) -> int:
    if name not in parameters:
        return 0
    text = parameters[name].get("string_value", "")
    if not text.isdecimal():
        raise ConfigError(f"parameter {name!r} is {text!r}: it has to be a whole number from 0 on")
    return int(text)


def _instances_on_cpu(groups: list[dict[str, Any]]) -> int:
    return sum(int(group.get("count", 1)) for group in groups if group.get("kind") == "KIND_CPU")
