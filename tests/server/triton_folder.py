"""A Triton installation in a folder of its own, as TRITON_DIR names one."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from server.installation import STUB


def write_triton_folder(root: Path) -> Path:
    """Makes a folder out of the packaged Triton, as it lies in NVIDIA's container.

    Args:
        root: The folder, which is not there yet.

    Returns:
        The folder of its backend `onnxruntime`, which is empty.
    """
    spec = importlib.util.find_spec("pytriton")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent / "tritonserver"
    shutil.copytree(wheel / "backends", root / "backends")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    stub = wheel / "python_backend_stubs" / version / STUB
    shutil.copy(stub, root / "backends" / "python" / STUB)
    for name, target in {
        "bin": wheel / "bin",
        "caches": wheel / "caches",
        "lib": wheel.parents[1] / "nvidia_pytriton.libs",
    }.items():
        (root / name).symlink_to(target)
    own = root / "backends" / "onnxruntime"
    own.mkdir()
    return own
