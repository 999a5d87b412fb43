"""What this machine can compute on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def gpu_is_visible(environment: Mapping[str, str], devices: Path = Path("/dev")) -> bool:
    """Tells whether a process with this environment would see an NVIDIA GPU.

    Args:
        environment: the variables; CUDA_VISIBLE_DEVICES can hide every GPU.
        devices: the folder of device files.

    Returns:
        True when the driver made a device file and none of the variables hides it.
    """
    hidden = environment.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1", "NoDevFiles")
    return not hidden and any(devices.glob("nvidia[0-9]*"))
