"""Opens the ONNX model: where it lies, what it computes on, with how many threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort

from .accelerators import CPU, CUDA, providers
from .config import BackendConfig
from .diagnosis import why_cuda_is_missing
from .errors import ConfigError, explain
from .optimization import SHRINKAGE, SessionConfig, ThreadConfig
from .placement import RECORD, Placement, check_gpu_placement

_LEVELS = {
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class Device(NamedTuple):
    """What an instance computes on."""

    kind: str  # `CPU` or `GPU`
    number: int = 0  # of the GPU

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> Device:
        """The device of an instance, from Triton's description of it."""
        return cls(arguments["model_instance_kind"], int(arguments["model_instance_device_id"]))

    @property
    def ort_name(self) -> str:
        """ONNX Runtime's name of it."""
        return "cuda" if self.kind == "GPU" else "cpu"


_PROCESSOR = Device("CPU")


def model_path(version_folder: Path, filename: str) -> Path:
    """Finds the ONNX file, which may be in a folder together with its external data.

    Raises:
        ConfigError: There is none.
    """
    path = version_folder / filename
    if path.is_dir():
        path = path / "model.onnx"
    if not path.is_file():
        raise ConfigError(f"there is no file {path}, which default_model_filename names")
    return path


def open_session(path: Path, config: BackendConfig, device: Device) -> ort.InferenceSession:
    """Opens a model for running on a device.

    Raises:
        ConfigError: The file is no ONNX model, or the device cannot be used for it.
    """
    if device.kind not in ("CPU", "GPU"):
        raise ConfigError(f"instance_group has kind KIND_{device.kind}: it has to be CPU or GPU")
    accelerators = config.session.cpu_accelerators
    if device.kind == "GPU":
        # As in the C++ backend, a CPU instance does not look at them.
        accelerators = (*config.session.gpu_accelerators, *accelerators)
    chosen = providers(
        device.kind,
        device.number,
        accelerators,
        config.session.cuda_options,
        ort.get_available_providers(),
    )
    options = session_options(config, device)
    try:
        # A second try with other providers would be a silent difference.
        session = ort.InferenceSession(str(path), options, providers=chosen, enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - each means that this file cannot be served
        raise ConfigError(f"ONNX Runtime cannot open {path}: {explain(error)}") from None
    session.disable_fallback()  # nor may a run be tried again on the processor
    # ONNX Runtime falls back to the processor without a word.
    missing = [name for name, _ in chosen if name not in session.get_providers() and name != CPU]
    if CUDA in missing:
        raise ConfigError(
            f"instance_group asks for GPU {device.number}, and ONNX Runtime's CUDA provider does "
            f"not work ({why_cuda_is_missing()}): nothing is computed on the processor in its "
            "place; DEVICE=cpu serves the CPU config"
        )
    if missing:
        raise ConfigError(
            f"optimization.execution_accelerators: ONNX Runtime could not use "
            f"{', '.join(missing)} (its libraries did not load)"
        )
    if device.kind == "GPU":
        check_gpu_placement(Placement.of(session), device.number)
    return session


def session_options(config: BackendConfig, device: Device = _PROCESSOR) -> ort.SessionOptions:
    """The options of a session on a device.

    Raises:
        ConfigError: A library of custom operators does not load.
    """
    settings, options = config.session, ort.SessionOptions()
    options.intra_op_num_threads = (
        intra_op_threads(settings.threads, config.instances_on_cpu)
        if device.kind == "CPU"
        # What is left to the processor is small, and others tokenize meanwhile.
        else max(1, settings.threads.intra_op)
    )
    options.inter_op_num_threads = settings.threads.inter_op
    options.execution_mode = (
        ort.ExecutionMode.ORT_PARALLEL
        if settings.threads.parallel
        else ort.ExecutionMode.ORT_SEQUENTIAL
    )
    options.graph_optimization_level = _LEVELS[settings.graph_level]
    options.log_severity_level = 3
    if settings.memory_arena is not None:
        options.enable_cpu_mem_arena = settings.memory_arena
    if settings.memory_pattern is not None:
        options.enable_mem_pattern = settings.memory_pattern
    options.add_session_config_entry(RECORD, "1")
    for name, value in settings.entries.items():
        options.add_session_config_entry(name, value)
    for library in settings.op_libraries:
        try:
            options.register_custom_ops_library(library)
        except Exception as error:  # noqa: BLE001 - each means that the library is of no use
            raise ConfigError(
                f"model_operations.op_library_filename is {library!r}: {explain(error)}"
            ) from None
    return options


def run_options(settings: SessionConfig) -> ort.RunOptions | None:
    """The options of every run; None for ONNX Runtime's defaults."""
    if not settings.arena_shrinkage:
        return None
    options = ort.RunOptions()
    options.add_run_config_entry(SHRINKAGE, settings.arena_shrinkage)
    return options


def intra_op_threads(threads: ThreadConfig, instances: int) -> int:
    """How many threads share an operator: the config's number, or an instance's share of the cores.

    Without a number ONNX Runtime would take every core of the machine for each
    instance, whatever other instances there are and whatever a container may use.
    """
    if threads.intra_op:
        return threads.intra_op
    return max(1, len(os.sched_getaffinity(0)) // max(1, instances))
