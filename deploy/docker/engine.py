"""The program that builds images on this machine: docker, podman or buildah."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.docker.errors import ImageError

NAMES = ("docker", "podman", "buildah")
_LAST_LINES = 15


@dataclass(frozen=True)
class Build:
    """One image to build.

    Attributes:
        file: Its Dockerfile.
        context: The folder that it copies from.
        tag: Its name and version.
        arguments: Build arguments, which stay in the image's history.
        secrets: Files that single steps read, by their ids; nothing of them stays in the image.
    """

    file: Path
    context: Path
    tag: str
    arguments: Mapping[str, str]
    secrets: Mapping[str, Path]


class Engine:
    """One of these programs.

    Args:
        name: Which of `NAMES`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, build: Build) -> None:
        """Builds an image.

        Raises:
            ImageError: A step failed.
        """
        command = [self.name, "build", *self._options(), "-f", str(build.file), "-t", build.tag]
        for name, value in build.arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        for name, path in build.secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        _run([*command, str(build.context)])

    def import_base(self, archive: Path, tag: str) -> None:
        """Makes an image of one layer.

        Args:
            archive: A tar file of the layer.
            tag: The image's name and version.

        Raises:
            ImageError: The engine did not take it.
        """
        if self.name != "buildah":
            _run([self.name, "import", str(archive), tag])
            return
        container = _run(["buildah", "from", "scratch"]).split()[-1]
        try:
            _run(["buildah", "add", "--quiet", container, str(archive), "/"])
            _run(["buildah", "commit", "--quiet", container, tag])
        finally:
            _run(["buildah", "rm", container])

    def has(self, tag: str) -> bool:
        """Whether an image of this name is here."""
        command = [self.name, "inspect", "--type", "image", tag]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    def _options(self) -> list[str]:
        if self.name == "docker":
            return []
        # The OCI format has no health check.
        options = ["--format", "docker", "--quiet"]
        if cgroups_are_hybrid():
            # In which the runtime starts nothing; the steps of a build can do without it.
            options += ["--isolation", "chroot", "--network", "host"]
        return options


def find_engine(wanted: str = "auto") -> Engine:
    """Finds a program that can build images.

    Args:
        wanted: One of `NAMES`, or `auto` for the first of them that is there.

    Raises:
        ImageError: There is none.
    """
    for name in NAMES if wanted == "auto" else (wanted,):
        if shutil.which(name) and (name != "docker" or _docker_answers()):
            return Engine(name)
    what = "none of docker, podman and buildah" if wanted == "auto" else f"no {wanted}"
    raise ImageError(
        f"{what} is installed and running here: install one (on Debian: apt-get install podman)"
    )


def cgroups_are_hybrid(mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether the kernel has version 1 and 2 of cgroups side by side, which crun refuses."""
    lines = [line.split() for line in mounts.read_text().splitlines()]
    return ["/sys/fs/cgroup/unified", "cgroup2"] in [line[1:3] for line in lines]


def _docker_answers() -> bool:
    """The command may be there without its daemon."""
    command = ["docker", "version", "--format", "{{.Server.Version}}"]
    return not subprocess.run(command, capture_output=True, check=False).returncode


def _run(command: Sequence[str]) -> str:
    """Runs a command, whose words are shown only where it fails.

    Returns:
        What it wrote to standard output.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-_LAST_LINES:]
        raise ImageError(f"{' '.join(command[:2])} failed: " + "\n".join(said))
    return done.stdout
