"""Reads `parameters` and `optimization`: threads, memory, graph level, accelerators."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .accelerators import (
    CUDA_PARAMETERS,
    SWITCHES,
    Accelerator,
    read_accelerators,
    read_cuda_parameters,
)
from .errors import ConfigError

_GRAPH_LEVELS = {0: "all", -1: "basic", 1: "extended", 2: "disabled"}
SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_SHARE = "share_session_between_instances"
_BINDING = "io_binding"
_OWN_PARAMETERS = (
    "intra_op_thread_count",
    "inter_op_thread_count",
    "execution_mode",
    "enable_mem_arena",
    "enable_mem_pattern",
    SHRINKAGE,
    _SHARE,
    _BINDING,
)
_SESSION_ENTRIES = frozenset(
    f"session.{name}"
    for name in (
        "disable_aot_function_inlining",
        "disable_cpu_ep_fallback",
        "disable_double_qdq_remover",
        "disable_prepacking",
        "disable_quant_qdq",
        "dynamic_block_base",
        "enable_quant_qdq_cleanup",
        "force_spinning_stop",
        "inter_op.allow_spinning",
        "inter_op.spin_backoff_max",
        "inter_op.spin_duration_us",
        "intra_op.allow_spinning",
        "intra_op.spin_backoff_max",
        "intra_op.spin_duration_us",
        "intra_op_thread_affinities",
        "load_model_format",
        "qdqisint8allowed",
        "set_denormal_as_zero",
        "use_device_allocator_for_initializers",
        "x64quantprecision",
    )
)
"""ONNX Runtime accepts any key without complaint; a misspelt one would do nothing."""


@dataclass(frozen=True)
class ThreadConfig:
    """How many threads compute; 0 leaves the number to the backend.

    Attributes:
        intra_op: Threads that share one operator.
        inter_op: Operators that run side by side.
        parallel: Whether operators run side by side at all.
    """

    intra_op: int = 0
    inter_op: int = 0
    parallel: bool = False


@dataclass(frozen=True)
class SessionConfig:
    """How ONNX Runtime is to compute.

    Attributes:
        threads: The threads of each instance.
        graph_level: `all`, `extended`, `basic` or `disabled`.
        memory_arena: Whether freed memory is kept; None leaves it to ONNX Runtime.
        memory_pattern: Whether allocations are planned from earlier runs; None likewise.
        arena_shrinkage: The devices whose arena is emptied after each run, or nothing.
        entries: ONNX Runtime's own session config entries.
        gpu_accelerators: What a GPU instance computes with, the first one first.
        cpu_accelerators: What every instance computes with besides.
        cuda_options: Options of the CUDA provider given as `parameters`.
        op_libraries: Files that hold custom operators.
        binding: Whether tensors are bound to the device; None binds them on a GPU.
    """

    threads: ThreadConfig = ThreadConfig()
    graph_level: str = "all"
    memory_arena: bool | None = None
    memory_pattern: bool | None = None
    arena_shrinkage: str = ""
    entries: Mapping[str, str] = field(default_factory=dict)
    gpu_accelerators: tuple[Accelerator, ...] = ()
    cpu_accelerators: tuple[Accelerator, ...] = ()
    cuda_options: Mapping[str, str] = field(default_factory=dict)
    op_libraries: tuple[str, ...] = ()
    binding: bool | None = None


def read_session_config(config: Mapping[str, Any]) -> SessionConfig:
    """Reads what a config says about computing.

    Args:
        config: The whole config.

    Raises:
        ConfigError: A parameter is not known, or its value is not allowed.
    """
    values = {
        name: str(value.get("string_value", ""))
        for name, value in config.get("parameters", {}).items()
    }
    _check_names(values)
    optimization = config.get("optimization", {})
    accelerators = optimization.get("execution_accelerators", {})
    if _switch(values, _SHARE):
        raise ConfigError(
            f"parameter {_SHARE!r} is '{values[_SHARE]}': the instances of this backend are "
            "processes of their own and cannot share a session"
        )
    return SessionConfig(
        threads=_threads(values),
        graph_level=_graph_level(optimization),
        memory_arena=_switch(values, "enable_mem_arena"),
        memory_pattern=_switch(values, "enable_mem_pattern"),
        arena_shrinkage=values.get(SHRINKAGE, ""),
        entries={name: text for name, text in values.items() if name in _SESSION_ENTRIES},
        gpu_accelerators=read_accelerators("gpu_execution_accelerator", accelerators),
        cpu_accelerators=read_accelerators("cpu_execution_accelerator", accelerators),
        cuda_options=read_cuda_parameters(values),
        op_libraries=tuple(config.get("model_operations", {}).get("op_library_filename", [])),
        binding=_switch(values, _BINDING),
    )


def _check_names(values: Mapping[str, str]) -> None:
    known = (*_OWN_PARAMETERS, *CUDA_PARAMETERS)
    for name in values:
        if name not in known and name not in _SESSION_ENTRIES:
            raise ConfigError(
                f"parameter {name!r} is not known; this backend knows {', '.join(known)} and "
                f"{', '.join(sorted(_SESSION_ENTRIES))}"
            )


def _graph_level(optimization: Mapping[str, Any]) -> str:
    level = int((optimization.get("graph") or {}).get("level", 0))
    if level not in _GRAPH_LEVELS:
        raise ConfigError(
            f"optimization.graph.level is {level}: it has to be -1 (basic), 1 (extended), "
            "2 (disabled), or absent for all optimizations"
        )
    return _GRAPH_LEVELS[level]


def _threads(values: Mapping[str, str]) -> ThreadConfig:
    mode = _whole_number(values, "execution_mode")
    if mode > 1:
        raise ConfigError(
            f"parameter 'execution_mode' is '{mode}': it has to be 0 (sequential) or 1 (parallel)"
        )
    return ThreadConfig(
        intra_op=_whole_number(values, "intra_op_thread_count"),
        inter_op=_whole_number(values, "inter_op_thread_count"),
        parallel=mode == 1,
    )


def _whole_number(values: Mapping[str, str], name: str) -> int:
    if name not in values:
        return 0
    text = values[name]
    if not text.isdecimal():
        raise ConfigError(f"parameter {name!r} is {text!r}: it has to be a whole number from 0 on")
    return int(text)


def _switch(values: Mapping[str, str], name: str) -> bool | None:
    if name not in values:
        return None
    text = values[name]
    if text.lower() not in SWITCHES:
        raise ConfigError(f"parameter {name!r} is {text!r}: it has to be 0, 1, false or true")
    return SWITCHES[text.lower()]
