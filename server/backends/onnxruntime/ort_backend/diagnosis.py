"""Finds out why ONNX Runtime's CUDA provider did not load, which its API does not say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort

_PROVIDER = "libonnxruntime_providers_cuda.so"
_SHARED = "libonnxruntime_providers_shared.so"
_LOAD = """
import ctypes, sys
try:
    ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
    ctypes.CDLL(sys.argv[2])
except OSError as error:
    print(error)
"""
_PYTHON = "python3"
"""The stub's own environment is that of the first python3 on the PATH."""
_TIMEOUT_SECONDS = 60


def why_cuda_is_missing(package: Path = Path(ort.__file__).parent) -> str:
    """What the loader says of the provider's library, or what else the cause may be."""
    library = package / "capi" / _PROVIDER
    shared = library.with_name(_SHARED)
    if not library.is_file():
        return f"onnxruntime {ort.__version__} has no {_PROVIDER}"
    try:
        # In a process of its own: loaded without ONNX Runtime around it, the library may end it.
        done = subprocess.run(
            [shutil.which(_PYTHON) or sys.executable, "-c", _LOAD, str(shared), str(library)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "its library was not loaded"
    said = done.stdout.strip()
    return said or "its library loads, so the driver or the GPU refuses it"
