"""A base image made from Debian's packages, for where no registry can be reached."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.docker.engine import Engine
from deploy.docker.errors import ImageError

SUITE = "bookworm"
BASE = f"localhost/serving-base:{SUITE}"
# What the official images of Python have as well. The shared libraries are for Triton and Python
# models.
_PACKAGES = ("python3", "python3-venv", "libpython3.11", "libstdc++6", "ca-certificates")
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
_KEPT = "/usr/share/doc/*/copyright"
_ERROR = "E: "


def ensure_base(engine: Engine) -> str:
    """Makes the base image, unless it is here.

    Returns:
        Its name.

    Raises:
        ImageError: mmdebstrap is missing or failed.
    """
    if engine.has(BASE):
        return BASE
    if not shutil.which("mmdebstrap"):
        raise ImageError(
            "mmdebstrap is not installed, which BASE=bootstrap needs: install it (on Debian: "
            "apt-get install mmdebstrap)"
        )
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "base.tar")
        _bootstrap(archive)
        engine.import_base(archive, BASE)
    return BASE


def _bootstrap(archive: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(_PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    command += [f"--dpkgopt=path-include={_KEPT}"]
    # Or Perl would come to move /bin into /usr.
    command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
    # As in the official images of Python.
    command += ['--customize-hook=ln -s python3 "$1/usr/bin/python"']
    command += [SUITE, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        errors = [line for line in said if line.startswith(_ERROR)] or said[-1:]
        raise ImageError(f"mmdebstrap failed: {errors[0] if errors else 'it gave no reason'}")
