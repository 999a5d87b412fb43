"""Maps Triton's execution accelerators to ONNX Runtime's execution providers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError

CUDA, TENSORRT, OPENVINO, CPU = (
    f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "OpenVINO", "CPU")
)
Provider = tuple[str, dict[str, str]]
"""An execution provider and its options."""

_PROVIDERS = {
    "gpu_execution_accelerator": {"cuda": CUDA, "tensorrt": TENSORRT},
    "cpu_execution_accelerator": {"openvino": OPENVINO},
}
_TENSORRT_NAMES = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_PRECISIONS = {
    "FP32": None,
    "FP16": "trt_fp16_enable",
    "BF16": "trt_bf16_enable",
    "INT8": "trt_int8_enable",
}
_CUDA_CHOICES = {
    "cudnn_conv_algo_search": {"0": "EXHAUSTIVE", "1": "HEURISTIC", "2": "DEFAULT"},
    "arena_extend_strategy": {"0": "kNextPowerOfTwo", "1": "kSameAsRequested"},
}
_CUDA_SWITCHES = ("do_copy_in_default_stream", "use_ep_level_unified_stream", "enable_cuda_graph")
_CUDA_HANDLES = (
    "user_compute_stream",
    "has_user_compute_stream",
    "gpu_external_alloc",
    "gpu_external_free",
    "gpu_external_empty_cache",
)
"""Addresses of what a program has made, which no file can name."""
SWITCHES: Mapping[str, bool] = {"1": True, "true": True, "0": False, "false": False}
CUDA_PARAMETERS = (*_CUDA_CHOICES, "gpu_mem_limit", "do_copy_in_default_stream")
"""Options of the CUDA provider that a config may give as `parameters`, the older way."""


@dataclass(frozen=True)
class Accelerator:
    """One execution accelerator of a config."""

    listed: str  # the config's list that names it
    name: str  # in that list
    provider: str  # ONNX Runtime's name for it
    options: Mapping[str, str] = field(default_factory=dict)


def read_accelerators(listed: str, entries: Mapping[str, Any]) -> tuple[Accelerator, ...]:
    """Reads the list `gpu_execution_accelerator` or `cpu_execution_accelerator`, in its order.

    Raises:
        ConfigError: An accelerator, or one of its parameters, is not known.
    """
    known = _PROVIDERS[listed]
    found: list[Accelerator] = []
    for entry in entries.get(listed, []):
        name, parameters = entry["name"], entry.get("parameters", {})
        where = f"optimization.execution_accelerators.{listed} names {name!r}"
        if name not in known:
            raise ConfigError(f"{where}: it has to be {' or '.join(known)}")
        if name == "openvino" and parameters:
            raise ConfigError(f"{where}, which takes no parameters, with {', '.join(parameters)}")
        if name == "tensorrt":
            options = _tensorrt_options(parameters)
        else:
            options = _cuda_options(parameters) if name == "cuda" else {}
        found.append(Accelerator(listed, name, known[name], options))
    return tuple(found)


def read_cuda_parameters(values: Mapping[str, str]) -> dict[str, str]:
    """Picks the CUDA provider's options, as ONNX Runtime spells them, from all `parameters`.

    Raises:
        ConfigError: A value is not one of those that the option takes.
    """
    options: dict[str, str] = {}
    for name in CUDA_PARAMETERS:
        if name in values:
            choices = _CUDA_CHOICES.get(name)
            if choices is not None and values[name] not in choices:
                meanings = ", ".join(f"{number} ({word})" for number, word in choices.items())
                raise ConfigError(
                    f"parameter {name!r} is {values[name]!r}: it has to be one of {meanings}"
                )
            options[name] = choices[values[name]] if choices else values[name]
    return options


def captures_cuda_graph(accelerators: Iterable[Accelerator]) -> bool:
    """Tells whether the CUDA provider is asked to capture a graph and replay it."""
    asked = [a.options.get("enable_cuda_graph", "0") for a in accelerators if a.provider == CUDA]
    return any(SWITCHES[value.lower()] for value in asked)


def providers(
    kind: str,
    device: int,
    accelerators: Sequence[Accelerator],
    cuda_options: Mapping[str, str],
    available: Sequence[str],
) -> list[Provider]:
    """Lists what an instance of kind `CPU` or `GPU` computes with, the preferred one first.

    The accelerators are those that count for this kind; `available` are the providers of the
    installed ONNX Runtime.

    Raises:
        ConfigError: The installed ONNX Runtime lacks one of them.
    """
    for accelerator in accelerators:
        if accelerator.provider not in available:
            raise ConfigError(
                f"optimization.execution_accelerators.{accelerator.listed} names "
                f"{accelerator.name!r}, but the installed onnxruntime has no "
                f"{accelerator.provider}: it has {', '.join(available)}"
            )
    chosen = {each.provider: dict(each.options) for each in accelerators}
    if kind == "GPU":
        if CUDA not in available:
            raise ConfigError(
                f"instance_group asks for GPU {device}, but the installed onnxruntime has no "
                "CUDA: install onnxruntime-gpu, or serve the CPU config"
            )
        # CUDA takes what TensorRT leaves over, so it comes after it whatever the order.
        chosen[CUDA] = {**chosen.pop(CUDA, {}), **cuda_options}
        for name in (TENSORRT, CUDA):
            if name in chosen:
                chosen[name]["device_id"] = str(device)
    if OPENVINO in chosen:
        chosen[OPENVINO] = {"device_type": "CPU", **chosen.pop(OPENVINO)}
    return [*chosen.items(), (CPU, {})]


def _cuda_options(parameters: Mapping[str, str]) -> dict[str, str]:
    """The provider's own options; ONNX Runtime refuses those that it does not know."""
    for name, value in parameters.items():
        if name in _CUDA_HANDLES:
            raise ConfigError(f"cuda: parameter {name!r} is an address, which no config can know")
        if name in _CUDA_SWITCHES and value.lower() not in SWITCHES:
            raise ConfigError(
                f"cuda: parameter {name!r} is {value!r}: it has to be 0, 1, false or true"
            )
    return dict(parameters)


def _tensorrt_options(parameters: Mapping[str, str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parameters.items():
        if name == "precision_mode":
            if value not in _PRECISIONS:
                raise ConfigError(
                    f"tensorrt: precision_mode is {value!r}: it has to be one of "
                    f"{', '.join(_PRECISIONS)}"
                )
            if switch := _PRECISIONS[value]:
                options[switch] = "1"
        elif name in _TENSORRT_NAMES or name.startswith("trt_"):
            options[_TENSORRT_NAMES.get(name, name)] = value
        else:
            raise ConfigError(f"tensorrt: parameter {name!r} is not known")
    return options
