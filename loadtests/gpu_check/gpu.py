"""All that the check asks of the server's own search for a device."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from loadtests.gpu_check.settings import Device
from loadtests.load.errors import LoadTestError
from server.cuda.check import library_folders, stub_variables
from server.cuda.libraries import NEEDED, find_libraries, places
from server.device import check_gpu, gpu_is_visible
from server.errors import DeviceError
from server.settings import CPU_CONFIG, PLAIN_CONFIG, Settings

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
CONFIGS: Mapping[Device, str] = {"gpu": PLAIN_CONFIG, "cpu": CPU_CONFIG}
"""Which of a model's configs is served on which device."""
PROVIDERS: Mapping[Device, str] = {"gpu": CUDA, "cpu": CPU}
"""What has to compute on a device."""


@cache
def missing() -> str:
    """Why there is no GPU to use; empty where there is one."""
    try:
        check_gpu(os.environ, visible=gpu_is_visible(os.environ))
    except DeviceError as error:
        return str(error)
    return ""


def settings(device: Device, repository: Path, start_timeout: int) -> Settings:
    """How a repository of configs for a device is served, on free ports."""
    return Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        device=device,
        cuda_libraries=_named(),
        config=PLAIN_CONFIG,
        model_repository=repository,
        start_timeout=start_timeout,
    )


def check_libraries() -> None:
    """Checks driver and libraries as a server does that is to compute on a GPU.

    Raises:
        DeviceError: Names what is missing, too old or broken.
    """
    library_folders(_named(), os.environ)


def libraries() -> dict[str, str]:
    """Where the CUDA libraries are that a server here would use, and their versions.

    In a process with `library_variables`, else the loader does not know them.
    """
    found = find_libraries(places(_named(), os.environ))
    facts = {
        "CUDA libraries in": ", ".join(map(str, found.folders)) or "no folder that is known",
        "CUDA libraries left to the loader": ", ".join(found.missing) or "none",
    }
    for name in NEEDED:
        with contextlib.suppress(OSError, AttributeError):
            if version := _version(name, ctypes.CDLL(name)):
                facts[name] = version
    return facts


def _version(name: str, library: ctypes.CDLL) -> str:
    """A library's own version, as far as it tells one."""
    if name.startswith("libcudart."):
        number = ctypes.c_int()
        library.cudaRuntimeGetVersion(ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"
    asked = {"libcublasLt.so.13": "cublasLtGetVersion", "libcudnn.so.9": "cudnnGetVersion"}
    if name not in asked:
        return ""
    function = getattr(library, asked[name])
    function.restype = ctypes.c_size_t
    return str(function())


def library_variables() -> dict[str, str]:
    """What a process that opens sessions itself has to find in its environment."""
    found = find_libraries(places(_named(), os.environ))
    variables = stub_variables(found.folders, "", os.environ.get("LD_LIBRARY_PATH"))
    # An empty path would be the folder that it is started in.
    return {name: value.strip(os.pathsep) for name, value in variables.items()}


def _named() -> Path | None:
    named = os.environ.get("CUDA_LIBRARIES", "").strip()
    return Path(named) if named else None


def session(graph: str | bytes, device: Device) -> Any:
    """An ONNX Runtime session on a device, in this process.

    Args:
        graph: The path of a file, or its content.
        device: Where it has to compute.

    Raises:
        LoadTestError: ONNX Runtime would compute on the CPU, as it does without a word where its
            provider does not load, or has no kernel for a large operator.
    """
    import onnxruntime

    from server.backends.onnxruntime.ort_backend.placement import (
        RECORD,
        Placement,
        left_to_the_processor,
    )

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(RECORD, "1")
    wanted = list(dict.fromkeys([PROVIDERS[device], CPU]))
    # A second try on the CPU, of the session or of a run, would be measured as the GPU's.
    made: Any = onnxruntime.InferenceSession(graph, options, providers=wanted, enable_fallback=0)
    if made.get_providers()[0] != PROVIDERS[device]:
        found = ", ".join(made.get_providers())
        raise LoadTestError(f"ONNX Runtime has no {PROVIDERS[device]} here: it would use {found}")
    if PROVIDERS[device] == CUDA and (slow := left_to_the_processor(Placement.of(made))):
        raise LoadTestError(f"ONNX Runtime would compute {slow} on the processor, beside the GPU")
    return made
