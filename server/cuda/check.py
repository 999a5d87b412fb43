"""Checks before a start that models can compute on the GPU, and says in a line why they cannot."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from server.cuda import probe
from server.cuda.libraries import NEEDED, CudaLibraries, find_libraries, places
from server.errors import DeviceError

MIN_CUDA = 13000
"""The oldest CUDA that the driver has to support, as the driver counts: CUDA 13.0.

Any release of CUDA 13 runs on a driver of CUDA 13.0 or newer (NVIDIA, CUDA Compatibility, minor
version compatibility).
"""
MIN_DRIVER = "580"
MIN_CAPABILITY = 75
"""That of Turing, the oldest for CUDA 13; 10 times the major plus the minor number."""
_PROBE_SECONDS = 120
_PROVIDER = "libonnxruntime_providers_cuda.so"
_OTHERWISE = "or set DEVICE=cpu"


def library_folders(named: Path | None, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Finds the folders of the CUDA libraries, and checks that the driver and they can be used.

    Args:
        named: The value of CUDA_LIBRARIES.
        environment: The variables that the models will have.

    Raises:
        DeviceError: Names the first thing that is missing, too old or broken.
    """
    check_onnxruntime(_package("onnxruntime"))
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        raise DeviceError(
            f"the environment {sys.prefix} has onnxruntime and onnxruntime-gpu, which write over "
            "each other's files: uninstall both, then install onnxruntime-gpu"
        )
    libraries = find_libraries(places(named, environment))
    check_report(probed(libraries.folders, environment), libraries, named, driver_version())
    return libraries.folders


def check_onnxruntime(package: Path | None) -> None:
    """Checks that the installed ONNX Runtime is one for GPUs.

    Args:
        package: Its folder; None where there is none.

    Raises:
        DeviceError: It is not.
    """
    if package is None or not (package / "capi" / _PROVIDER).is_file():
        raise DeviceError(
            f"DEVICE is gpu, and the environment {sys.prefix} has no onnxruntime-gpu: run the "
            f"command through make, which installs it, {_OTHERWISE}"
        )


def probed(folders: Iterable[Path], environment: Mapping[str, str]) -> dict[str, Any]:
    """What `server/cuda/probe.py` reports of the libraries in these folders.

    Raises:
        DeviceError: Loading them ended the process, or took too long.
    """
    inherited = environment.get("LD_LIBRARY_PATH")
    paths = [*map(str, folders), *([inherited] if inherited else [])]
    command = [sys.executable, str(Path(probe.__file__)), *NEEDED]
    try:
        done = subprocess.run(
            command,
            env={**environment, "LD_LIBRARY_PATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"the NVIDIA driver did not answer within {_PROBE_SECONDS} seconds: look at "
            f"nvidia-smi, {_OTHERWISE}"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"code {done.returncode}"]
        raise DeviceError(f"loading the CUDA libraries ended a process: {said[0]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_report(
    report: Mapping[str, Any],
    libraries: CudaLibraries,
    named: Path | None = None,
    driver: str = "",
) -> None:
    """Checks what was reported of the driver and the libraries.

    Args:
        report: As `server/cuda/probe.py` gives it.
        libraries: Where the libraries were found.
        named: The value of CUDA_LIBRARIES.
        driver: The driver's own version.

    Raises:
        DeviceError: Names what is missing, too old or broken.
    """
    failed: Mapping[str, str] = report["failed"]
    if probe.DRIVER in failed:
        raise DeviceError(
            f"there is a GPU, and no NVIDIA driver to use it ({failed[probe.DRIVER]}): install "
            f"driver {MIN_DRIVER} or newer, give a container its GPUs, {_OTHERWISE}"
        )
    if report["driver"] < MIN_CUDA:
        have = f"driver {driver}, which" if driver else "driver, which"
        raise DeviceError(
            f"the NVIDIA {have} supports CUDA {_dotted(report['driver'])}, is too old: "
            f"onnxruntime-gpu needs CUDA {_dotted(MIN_CUDA)}, so install driver {MIN_DRIVER} or "
            f"newer, {_OTHERWISE}"
        )
    if report["refused"] or not report["gpus"]:
        why = report["refused"] or "it counts 0"
        raise DeviceError(f"the NVIDIA driver finds no GPU ({why}): look at nvidia-smi")
    for gpu, capability in zip(report["gpus"], report["capabilities"], strict=True):
        if capability < MIN_CAPABILITY:
            raise DeviceError(
                f"the GPU {gpu} has compute capability {capability / 10}, and onnxruntime-gpu for "
                f"CUDA 13 needs {MIN_CAPABILITY / 10} or more: choose others with "
                f"CUDA_VISIBLE_DEVICES, {_OTHERWISE}"
            )
    for name in NEEDED:
        if name in failed:
            raise DeviceError(_not_loaded(name, failed[name], libraries, named))
    if 0 < report["cudnn"] < MIN_CUDA:
        raise DeviceError(
            f"the cuDNN that was found is made for CUDA {_dotted(report['cudnn'])}, and "
            f"onnxruntime-gpu needs one for CUDA {MIN_CUDA // 1000}: install "
            f"{NEEDED['libcudnn.so.9']}, or name its folder in CUDA_LIBRARIES"
        )


def driver_version(file: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of the kernel's NVIDIA driver, such as 580.95.05; empty if it is not known."""
    try:
        found = re.search(r"Module.*?\s(\d+\.[\d.]+)\s", file.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def stub_variables(
    folders: Iterable[Path], library_path: str, inherited: str | None
) -> dict[str, str]:
    """What the processes of models need in their environment to find the libraries.

    It is for them alone: tritonserver has a CUDA runtime of its own.

    Args:
        folders: Those of the CUDA libraries.
        library_path: The LD_LIBRARY_PATH of tritonserver.
        inherited: What of it, at its end, is the user's; the libraries come before that.
    """
    if inherited:
        library_path = library_path.removesuffix(f"{os.pathsep}{inherited}")
    paths = [library_path, *map(str, folders), *([inherited] if inherited else [])]
    return {
        "LD_LIBRARY_PATH": os.pathsep.join(paths),
        # cuDNN's front end takes any CUDA runtime that it finds, an older one too.
        "CUDNN_FRONTEND_CUDART_LIB_NAME": next(iter(NEEDED)),
    }


def _not_loaded(name: str, why: str, libraries: CudaLibraries, named: Path | None) -> str:
    if name not in libraries.missing:
        return f"the CUDA library {name} does not load: {why}"
    where = f"CUDA_LIBRARIES ({named})" if named else "any package of Python or place of the system"
    return (
        f"the CUDA library {name} is not in {where}, and the loader does not know it: install "
        f"NVIDIA's wheel {NEEDED[name]}, or name its folder in CUDA_LIBRARIES"
    )


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # without importing it
    return Path(spec.origin).parent if spec and spec.origin else None
