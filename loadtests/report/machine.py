"""What a run was measured on, so that it is compared with nothing else."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

_PACKAGES = (
    "locust",
    "gevent",
    "grpcio",
    "geventhttpclient",
    "tritonclient",
    "onnxruntime",
    "numpy",
)


def machine() -> dict[str, str]:
    """The processor, its cores, memory and operating system."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def versions(triton: str) -> dict[str, str]:
    """Of Triton, as the server says, of Python and of the packages that took part."""
    packages = {name: metadata.version(name) for name in _PACKAGES}
    return {"triton": triton, "python": platform.python_version(), **packages}


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
