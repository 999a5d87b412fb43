"""Opens the ONNX model: where it lies, what it computes on, with how many threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from .config import BackendConfig, ThreadConfig
from .errors import ConfigError, explain

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


@dataclass(frozen=True)
class Device:
    """What an instance computes on.

    Attributes:
        kind: `CPU` or `GPU`.
        number: which GPU.
    """

    kind: str
    number: int = 0


def model_path(version_folder: Path, filename: str) -> Path:
    """Finds the model's file; it may be a folder that holds it with its external data.

    Args:
        version_folder: the folder of the model's version.
        filename: the config's `default_model_filename`.

    Returns:
        The ONNX file.

    Raises:
        ConfigError: there is none.
    """
    path = version_folder / filename
    if path.is_dir():
        path = path / "model.onnx"
    if not path.is_file():
        raise ConfigError(f"there is no file {path}, which default_model_filename names")
    return path


def open_session(path: Path, config: BackendConfig, device: Device) -> ort.InferenceSession:
    """Opens a model.

    Args:
        path: the ONNX file.
        config: threads and optimizations.
        device: what to compute on.

    Returns:
        The session, ready to run.

    Raises:
        ConfigError: the file is no ONNX model, or the device cannot be used.
    """
    providers = _providers(device)
    try:
        session = ort.InferenceSession(str(path), session_options(config), providers=providers)
    except Exception as error:  # noqa: BLE001 - each means that this file cannot be served
        raise ConfigError(f"ONNX Runtime cannot open {path}: {explain(error)}") from None
    # ONNX Runtime falls back to the processor without a word.
    if device.kind == "GPU" and "CUDAExecutionProvider" not in session.get_providers():
        raise ConfigError(
            f"instance_group asks for GPU {device.number}, which ONNX Runtime could not use "
            "(its CUDA libraries did not load): serve the CPU config instead"
        )
    return session


def session_options(config: BackendConfig) -> ort.SessionOptions:
    """Writes the options of a session.

    Args:
        config: threads and optimizations.

    Returns:
        The options.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads(config.threads, config.instances_on_cpu)
    options.inter_op_num_threads = config.threads.inter_op
    options.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL
        if config.threads.parallel
        else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    options.graph_optimization_level = _LEVELS[config.graph_level]
    options.log_severity_level = 3
    return options


def intra_op_threads(threads: ThreadConfig, instances: int) -> int:
    """Decides how many threads share an operator.

    Without a number ONNX Runtime would take every core of the machine for each
    instance, so that instances, and the limits of a container, get in each other's way.

    Args:
        threads: what the config says.
        instances: how many instances compute on this machine's processor.

    Returns:
        The config's number, or the instance's share of the cores this process may use.
    """
    if threads.intra_op:
        return threads.intra_op
    return max(1, len(os.sched_getaffinity(0)) // max(1, instances))


def _providers(device: Device) -> list[Any]:
    if device.kind == "CPU":
        return ["CPUExecutionProvider"]
    if device.kind != "GPU":
        raise ConfigError(f"instance_group has kind KIND_{device.kind}: it has to be CPU or GPU")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ConfigError(
            f"instance_group asks for GPU {device.number}, but the installed onnxruntime has no "
            "CUDA: install onnxruntime-gpu or serve the CPU config"
        )
    return [("CUDAExecutionProvider", {"device_id": device.number}), "CPUExecutionProvider"]
