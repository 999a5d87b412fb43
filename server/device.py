"""What the models compute on: the processor, or NVIDIA GPUs.

`python -m server.device` prints which of the two, for the Makefile, before anything is installed:
nothing here, and nothing that this imports, needs more than the standard library.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from server.errors import DeviceError

CPU, GPU = "cpu", "gpu"
_HIDDEN = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES that hide every GPU from a process."""
_LISTING_SECONDS = 20


def detected_device(environment: Mapping[str, str]) -> str:
    """What a server computes on that is not told: a GPU where one can be seen.

    With CONFIG=cpu nothing would compute on it, so that the device is the processor.
    """
    if environment.get("CONFIG", "").strip() == CPU or not gpu_is_visible(environment):
        return CPU
    return GPU


def gpu_is_visible(
    environment: Mapping[str, str],
    devices: Path = Path("/dev"),
    listed: Callable[[], bool] | None = None,
) -> bool:
    """Tells whether a process with this environment would see an NVIDIA GPU.

    Args:
        environment: The variables of the process.
        devices: The folder of device files, of which the driver makes one for each GPU.
        listed: Whether nvidia-smi lists a GPU, which is asked where there is no such file.
    """
    if hides_every_gpu(environment):
        return False
    return any(devices.glob("nvidia[0-9]*")) or (listed or _lists_a_gpu)()


def hides_every_gpu(environment: Mapping[str, str]) -> bool:
    """Tells whether CUDA_VISIBLE_DEVICES leaves a process no GPU."""
    return environment.get("CUDA_VISIBLE_DEVICES", "all") in _HIDDEN


def check_gpu(environment: Mapping[str, str], *, visible: bool) -> None:
    """Checks that there is a GPU for a server that is to compute on one.

    Raises:
        DeviceError: There is none, or it is hidden.
    """
    if hides_every_gpu(environment):
        raise DeviceError(
            f"DEVICE is gpu, and CUDA_VISIBLE_DEVICES is "
            f"{environment['CUDA_VISIBLE_DEVICES']!r}, which hides every GPU: unset it, or set "
            "DEVICE=cpu"
        )
    if not visible:
        raise DeviceError(
            "DEVICE is gpu, and this machine has no NVIDIA GPU (there is no /dev/nvidia0, and "
            "nvidia-smi lists none): set DEVICE=cpu to serve on the processor"
        )


def _lists_a_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        listed = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=_LISTING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and listed.stdout.startswith("GPU ")


if __name__ == "__main__":
    print(detected_device(os.environ))
