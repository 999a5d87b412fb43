"""Images of programs from Debian's packages, by the names that compose and the chart ask for."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from deploy.docker.bootstrap import SUITE
from tests.deploy.containers.podman import Podman

_NOBODY = 65534
_START = (
    '["/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", '
    '"--storage.tsdb.path=/prometheus"]'
)


def make_images(podman: Podman, haproxy: str, prometheus: str, folder: Path) -> None:
    """Makes the images of compose out of one system that has both programs.

    Args:
        podman: Keeps them.
        haproxy: Name and tag of the first.
        prometheus: Name and tag of the second, which runs as nobody as the official one does.
        folder: An empty folder.
    """
    own = f'--customize-hook=install -d -o {_NOBODY} -g {_NOBODY} "$1/prometheus"'
    archive = _system(("haproxy", "prometheus"), folder, own)
    podman("import", str(archive), haproxy)
    changes = [f"--change=ENTRYPOINT {_START}", f"--change=USER {_NOBODY}:{_NOBODY}"]
    podman("import", *changes, str(archive), prometheus)
    archive.unlink()


def make_rclone_image(podman: Podman, rclone: str, folder: Path) -> None:
    """Makes the image of rclone, which starts it as the official one does.

    Args:
        podman: Keeps it.
        rclone: Its name and tag.
        folder: An empty folder.
    """
    archive = _system(("rclone",), folder)
    podman("import", '--change=ENTRYPOINT ["/usr/bin/rclone"]', str(archive), rclone)
    archive.unlink()


def _system(packages: Sequence[str], folder: Path, *options: str) -> Path:
    """Makes a system with packages, as a tar file."""
    archive = folder / "programs.tar"
    command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "javascript")]
    done = subprocess.run(
        [*command, *options, SUITE, str(archive)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return archive
