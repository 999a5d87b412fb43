"""The guard's process, which stands in front of a Triton on loopback."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from server.command import LOOPBACK
from server.device import GPU
from server.errors import StartError
from server.parent_death import in_child
from server.ports import Ports
from server.processes import never_interrupt
from server.settings import Settings
from server.signals import FOR_EVERYBODY, SOFT_STOP

_ROOT = Path(__file__).resolve().parents[1]
_POLL_SECONDS = 0.02


class GuardProcess:
    """A running guard.

    Start it from the main thread: the kernel ties it to the thread that starts it.

    Args:
        settings: Those of the server.
        ports: Where the guard listens.
        upstream: Where its Triton listens, on loopback.
        triton: The process of that Triton.
        folder: Private, for its log.
    """

    def __init__(
        self, settings: Settings, ports: Ports, upstream: Ports, triton: int, folder: Path
    ) -> None:
        self.log_path = folder / "guard.log"
        environment = {
            **os.environ,
            "BIND": settings.bind,
            "HTTP_PORT": str(ports.http),
            "GRPC_PORT": str(ports.grpc),
            "METRICS_PORT": str(ports.metrics),
            "UPSTREAM_HTTP": f"{LOOPBACK}:{upstream.http}",
            "UPSTREAM_GRPC": f"{LOOPBACK}:{upstream.grpc}",
            "UPSTREAM_METRICS": f"{LOOPBACK}:{upstream.metrics}",
            "UPSTREAM_PID": str(triton),
            "MODEL_REPOSITORY": str(settings.model_repository),
            "MODEL_CONTROL": settings.model_control,
            "SHARED_MEMORY": settings.shared_memory,
            "TRACE_CONTROL": settings.trace_control,
            "LOG_CONTROL": settings.log_control,
            "MAX_BODY": str(settings.max_body),
            "EXIT_TIMEOUT": str(settings.exit_timeout),
            "QUARANTINE_DIR": str(quarantine_folder(settings, folder)),
        }
        # Who signals every process of a tree does not stop it before its turn.
        tie, gpu = in_child(SOFT_STOP, ignore=FOR_EVERYBODY), settings.device == GPU

        def prepare() -> None:
            tie()
            if not gpu:  # as Triton itself
                never_interrupt()

        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.guard"],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - only the main thread gets here
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def last_lines(self, count: int = 5) -> tuple[str, ...]:
        """The end of its log."""
        return tuple(self.log_path.read_text(errors="replace").splitlines()[-count:])

    def stop(self, seconds: float, hurry: Callable[[], bool] = lambda: False) -> int:
        """Lets it answer what it has accepted, then ends it.

        Once `hurry` returns true, or the time is over, it is killed.

        Returns:
            Its exit code; 0 when every request was finished.
        """
        if self.poll() is None:
            self._process.send_signal(SOFT_STOP)
        deadline = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < deadline and not hurry():
            time.sleep(_POLL_SECONDS)
        self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """Ends it at once."""
        if self.poll() is None:
            self._process.kill()
        self._process.wait()


def quarantine_folder(settings: Settings, folder: Path) -> Path:
    """Where the guard keeps what ended servers: it outlives a server that has a port of its own."""
    if settings.quarantine_dir:
        return settings.quarantine_dir
    if not settings.http_port:
        return folder / "quarantine"
    kept = Path(tempfile.gettempdir()) / f"triton-quarantine-{os.getuid()}-{settings.http_port}"
    try:
        kept.mkdir(mode=0o700, exist_ok=True)
        about = kept.lstat()
    except OSError as error:
        raise StartError(
            f"{kept} cannot be made ({error.strerror}): set QUARANTINE_DIR to a private folder"
        ) from None
    # In a folder that everybody writes to, somebody else may have been there first.
    if about.st_uid != os.getuid() or about.st_mode & 0o077 or kept.is_symlink():
        raise StartError(f"{kept} is not a private folder of this user: set QUARANTINE_DIR")
    return kept
