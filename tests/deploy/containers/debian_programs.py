"""Images of HAProxy and Prometheus from Debian's packages, by the names that compose asks for."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.docker.bootstrap import SUITE
from tests.deploy.containers.podman import Podman

_NOBODY = 65534
_START = (
    '["/usr/bin/prometheus", "--config.file=/etc/prometheus/prometheus.yml", '
    '"--storage.tsdb.path=/prometheus"]'
)


def make_images(podman: Podman, haproxy: str, prometheus: str, folder: Path) -> None:
    """Makes both images out of one system that has both programs.

    Args:
        podman: Keeps them.
        haproxy: Name and tag of the first.
        prometheus: Name and tag of the second, which runs as nobody as the official one does.
        folder: An empty folder.
    """
    archive = folder / "programs.tar"
    command = ["mmdebstrap", "--quiet", "--variant=essential", "--include=haproxy,prometheus"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in ("doc", "javascript")]
    command += [f'--customize-hook=install -d -o {_NOBODY} -g {_NOBODY} "$1/prometheus"']
    done = subprocess.run(
        [*command, SUITE, str(archive)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    podman("import", str(archive), haproxy)
    changes = [f"--change=ENTRYPOINT {_START}", f"--change=USER {_NOBODY}:{_NOBODY}"]
    podman("import", *changes, str(archive), prometheus)
    archive.unlink()
