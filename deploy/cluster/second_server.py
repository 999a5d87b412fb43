"""A second server for a cluster of one, for as long as a command asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploy.cluster.managed_process import ManagedProcess
from server.ports import Ports
from server.readiness import is_ready
from server.signals import SOFT_STOP

_FILENAME = "second-server"


def request_file(run_dir: Path) -> Path:
    """The file that asks for a second server; it holds the process id of the command."""
    return run_dir / _FILENAME


class SecondServer:
    """Starts a server when a command asks for it, and ends it when the command has ended.

    Args:
        run_dir: The cluster's folder.
        prepare: Gives a server that may be started, and its ports.
    """

    def __init__(self, run_dir: Path, prepare: Callable[[], tuple[ManagedProcess, Ports]]) -> None:
        self._request = request_file(run_dir)
        self._prepare = prepare
        self._starting: tuple[ManagedProcess, Ports] | None = None
        self._leaving: list[ManagedProcess] = []

    @property
    def starting(self) -> list[ManagedProcess]:
        """The server that is not ready yet, if there is one."""
        return [self._starting[0]] if self._starting else []

    @property
    def processes(self) -> list[ManagedProcess]:
        """Those that serve not yet or no more."""
        return [*self.starting, *self._leaving]

    @property
    def requested(self) -> bool:
        """Whether a command that still runs asks for a second server."""
        try:
            pid = int(self._request.read_text())
        except (OSError, ValueError):  # none, or one that is being written
            return False
        return Path(f"/proc/{pid}").exists()

    def forget_requests(self) -> None:
        """Removes what a command that was killed left behind."""
        self._request.unlink(missing_ok=True)

    def start(self) -> tuple[ManagedProcess, Ports] | None:
        """Starts the server at the first call; gives it once, when it is ready to serve."""
        if self._starting is None:
            self._starting = self._prepare()
            self._starting[0].start()
        elif is_ready(f"127.0.0.1:{self._starting[1].http}"):
            ready, self._starting = self._starting, None
            return ready
        return None

    def end(self, *servers: ManagedProcess) -> None:
        """Ends servers, and one that is starting; what they still get goes elsewhere."""
        self._leaving = [server for server in self._leaving if not server.ended()]
        for server in (*servers, *self.starting):
            server.signal(SOFT_STOP)
            self._leaving.append(server)
        self._starting = None
