"""All that the check asks of the server's own search for a device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loadtests.gpu_check.findings import NoGpuError
from loadtests.gpu_check.settings import Device
from server.settings import CPU_CONFIG, PLAIN_CONFIG, Settings, gpu_is_visible
from server.triton import TritonServer

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CONFIGS: Mapping[Device, str] = {"gpu": PLAIN_CONFIG, "cpu": CPU_CONFIG}
"""Which of a model's configs is served on which device."""
PROVIDERS: Mapping[Device, str] = {"gpu": CUDA, "cpu": CPU}
"""What has to compute on a device."""


class Instance(NamedTuple):
    """What the session of one instance says about itself."""

    model: str
    name: str
    device: str
    providers: list[str]


def missing() -> str:
    """Why there is no GPU to use; empty where there is one."""
    return "" if gpu_is_visible(os.environ) else "no GPU was found"


def settings(device: Device, repository: Path, start_timeout: int) -> Settings:
    """How a repository of configs for a device is served, on free ports."""
    chosen = {"device": device} if "device" in Settings.model_fields else {}
    return Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        config=PLAIN_CONFIG,
        model_repository=repository,
        start_timeout=start_timeout,
        **chosen,
    )


def instances(server: TritonServer) -> list[Instance]:
    """What every instance of our backend says in a running server."""
    from server.instances import read_instances

    return [
        Instance(each.model, each.instance, f"{each.kind} {each.device_id}", list(each.providers))
        for each in read_instances(server.run_folder)
    ]


def session(graph: str | bytes, device: Device) -> Any:
    """An ONNX Runtime session on a device, in this process.

    Args:
        graph: The path of a file, or its content.
        device: Where it has to compute.

    Raises:
        NoGpuError: ONNX Runtime fell back to the CPU, which it does without a word.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = list(dict.fromkeys([PROVIDERS[device], CPU]))
    made: Any = onnxruntime.InferenceSession(graph, options, providers=wanted)
    if made.get_providers()[0] != PROVIDERS[device]:
        found = ", ".join(made.get_providers())
        raise NoGpuError(f"ONNX Runtime has no {PROVIDERS[device]} here: it would use {found}")
    return made


def libraries() -> dict[str, str]:
    """The libraries of CUDA that a server here would use, by name."""
    return {}
