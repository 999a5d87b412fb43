"""Podman with a store of its own, so that nothing is left of the tests, nor used by them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.docker.engine import cgroups_are_hybrid
from server.parent_death import in_child
from tests.deploy.cluster import eventually

DOCUMENTED = ("--read-only", "--tmpfs", "/tmp", "--shm-size", "512m", "--cap-drop", "ALL")  # noqa: S108
"""The options that docs/operations.md names."""
MAX_LIMIT = 16384
"""Of open files, and of processes, in a container; lower where this machine has less."""


class PodmanError(Exception):
    """A command of podman failed; the message is what it said."""


@dataclass(frozen=True)
class Container:
    """A container of the tests.

    Attributes:
        podman: That runs it.
        name: Its name.
    """

    podman: Podman
    name: str

    def state(self) -> dict[str, Any]:
        """What podman says of it."""
        (found,) = json.loads(self.podman("container", "inspect", self.name))
        state: dict[str, Any] = found["State"]
        return state | {"Restarts": found["RestartCount"]}

    def is_running(self) -> bool:
        """Whether its process runs."""
        return bool(self.state()["Running"])

    def is_healthy(self) -> bool:
        """Runs its health check once; podman's own timer would want systemd."""
        return not self.podman.call("healthcheck", "run", self.name).returncode

    def port(self, inside: int) -> int:
        """Where a port of it is reached on loopback."""
        return int(self.podman("port", self.name, f"{inside}/tcp").strip().rpartition(":")[2])

    @property
    def http_url(self) -> str:
        """`host:port` of the HTTP service."""
        return f"127.0.0.1:{self.port(8000)}"

    @property
    def grpc_url(self) -> str:
        """`host:port` of the gRPC service."""
        return f"127.0.0.1:{self.port(8001)}"

    def exec(self, *command: str) -> str:
        """Runs a command inside."""
        return self.podman("exec", self.name, *command)

    def logs(self) -> str:
        """What it wrote."""
        done = self.podman.call("logs", self.name)
        return done.stdout + done.stderr

    def stop(self, seconds: int = 60) -> None:
        """Sends SIGTERM, and SIGKILL after the grace."""
        self.podman("stop", "--time", str(seconds), self.name)

    def exit_code(self) -> int:
        """What its process ended with."""
        return int(self.podman("wait", self.name))

    def __str__(self) -> str:
        return f"{self.name}: {self.state()}\n{self.logs()}"


class Podman:
    """The program, with its images and containers in a folder of its own.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.environment = _environment(folder)
        self._namespace = _own_namespace()
        self._count = 0

    def close(self) -> None:
        """Removes its containers, networks and images."""
        self.call("rm", "--all", "--force", "--time", "0")
        self.call("network", "prune", "--force")
        self.call("system", "reset", "--force")
        if self._namespace:
            self._namespace.kill()
            self._namespace.wait()
            # What builds images here is not in that namespace, and leaves its mount.
            left = ["umount", str(self._folder / "graph" / "overlay")]
            subprocess.run(left, stderr=subprocess.DEVNULL, check=False)

    def command(self, *command: str) -> list[str]:
        """A command as it has to be run here, with `environment`."""
        if self._namespace is None:
            return [*command]
        return ["nsenter", f"--mount=/proc/{self._namespace.pid}/ns/mnt", *command]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of podman, whatever comes of it."""
        return subprocess.run(
            self.command("podman", *arguments),
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def __call__(self, *arguments: str) -> str:
        """Runs a command of podman, which has to succeed.

        Returns:
            What it wrote to standard output.
        """
        done = self.call(*arguments)
        if done.returncode:
            raise PodmanError(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    @contextmanager
    def container(
        self,
        image: str,
        options: Sequence[str] = DOCUMENTED,
        *,
        models: Path | None = None,
        variables: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
        ports: Sequence[int] = (8000, 8001, 8002),
    ) -> Iterator[Container]:
        """Runs a container until the block ends.

        Args:
            image: What to run.
            options: Of `podman run`.
            models: The folder to mount as /models.
            variables: Environment variables.
            command: What follows the image.
            ports: Those that are published on loopback.

        Yields:
            The container, which may not be ready yet.
        """
        self._count += 1
        name = f"serving-{os.getpid()}-{self._count}"
        arguments = ["run", "--detach", "--name", name, *options]
        for port in ports:
            arguments += ["--publish", f"127.0.0.1::{port}"]
        if models:
            arguments += ["--volume", f"{models}:/models:ro"]
        for key, value in (variables or {}).items():
            arguments += ["--env", f"{key}={value}"]
        self(*arguments, image, *command)
        container = Container(self, name)
        try:
            yield container
        finally:
            self.call("rm", "--force", "--time", "0", "--volumes", name)

    @contextmanager
    def server(self, image: str, *args: Any, **kwargs: Any) -> Iterator[Container]:
        """The same, from when its health check succeeds.

        Yields:
            The container.
        """
        with self.container(image, *args, **kwargs) as container:
            ready = eventually(lambda: container.is_healthy() or not container.is_running(), 120)
            assert ready, str(container)
            assert container.is_running(), str(container)
            yield container


def is_installed() -> bool:
    """Whether podman and what it needs are on this machine."""
    return all(shutil.which(program) for program in ("podman", "crun", "nsenter", "unshare"))


def _environment(folder: Path) -> dict[str, str]:
    """Has podman keep everything in a folder."""
    # What it asks for by itself may be more than this machine lets anybody have.
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    quoted = ", ".join(f'"{name}={(most := _limit(kind))}:{most}"' for name, kind in limits.items())
    containers = folder / "containers.conf"
    containers.write_text(
        f"[containers]\ndefault_ulimits = [{quoted}]\n"
        f'[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{folder / "tmp"}"\n[network]\nnetwork_backend = "netavark"\n'
        f'network_config_dir = "{folder / "networks"}"\n'
    )
    storage = folder / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "graph"}"\n'
        f'runroot = "{folder / "run"}"\n'
    )
    return {"CONTAINERS_CONF": str(containers), "CONTAINERS_STORAGE_CONF": str(storage)}


def _limit(kind: int) -> int:
    _, hard = resource.getrlimit(kind)
    return MAX_LIMIT if hard == resource.RLIM_INFINITY else min(hard, MAX_LIMIT)


def _own_namespace() -> subprocess.Popen[bytes] | None:
    """Holds a mount namespace without version 2 of cgroups, where that stands beside version 1.

    All commands have to share one: the networks of containers are mounted in it.
    """
    if not cgroups_are_hybrid():
        return None
    holder = subprocess.Popen(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            "umount /sys/fs/cgroup/unified && echo && exec sleep inf",
        ],
        stdout=subprocess.PIPE,
        preexec_fn=in_child(signal.SIGKILL),  # noqa: PLW1509 - fixtures run in the main thread
    )
    assert holder.stdout
    assert holder.stdout.readline(), "no mount namespace could be made"
    return holder
