"""A child process that is restarted whenever it ends."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from server.parent_death import in_child
from server.processes import exit_cause, kill_group
from server.signals import FOR_EVERYBODY, SOFT_STOP

_ROOT = Path(__file__).resolve().parents[2]
MIN_WAIT = 0.2
MAX_WAIT = 10.0
_POLL_SECONDS = 0.1
SETTLED_SECONDS = 30.0
"""A process that ran longer has not failed at its start: the backoff begins anew."""


class ManagedProcess:
    """One program, kept running with exponential backoff.

    Use it from the main thread: the kernel ties a child to the thread that starts it.

    Args:
        name: What messages call it.
        command: The program and its arguments.
        environment: All of its environment variables.
        log: The file that its output is appended to.
        clock: The time in seconds.
        folder: Where it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        clock: Callable[[], float] = time.monotonic,
        *,
        folder: Path = _ROOT,
    ) -> None:
        self.name = name
        self.starts = 0
        self._command = list(command)
        self._environment = dict(environment)
        self._log = log
        self._clock = clock
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._wait = MIN_WAIT
        self._next_start = 0.0

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Starts it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches only the supervisor, which ends them in order.
                start_new_session=True,
                # So does SIGTERM that was sent to every process of the tree.
                preexec_fn=in_child(SOFT_STOP, ignore=FOR_EVERYBODY),  # noqa: PLW1509 - only the main thread gets here
            )
        self.starts += 1
        self._started = self._clock()

    def keep_running(self) -> str | None:
        """Restarts it, once its wait is over, if it has ended; call it again and again.

        Returns:
            What happened, in words; None when nothing did.
        """
        if self._process is None:
            if self._clock() < self._next_start:
                return None
            self.start()
            return f"{self.name} started (process {self.pid})"
        code = self._process.poll()
        if code is None:
            return None
        settled = self._clock() - self._started > SETTLED_SECONDS
        self._wait = MIN_WAIT if settled else min(2 * self._wait, MAX_WAIT)
        self._next_start = self._clock() + self._wait
        self._process = None
        return f"{self.name} ended {exit_cause(code)}: it is restarted in {self._wait:.1f} s"

    def running_seconds(self) -> float:
        """How long it has been running; 0 while it does not."""
        return self._clock() - self._started if self._process else 0.0

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it runs."""
        if self._process:
            self._process.send_signal(number)

    def ended(self) -> bool:
        """Whether it does not run."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """Ends it at once, with the processes of its group."""
        if self._process:
            kill_group(self._process.pid)
            self._process.wait()
            self._process = None


def end_together(
    processes: Sequence[ManagedProcess],
    timeout: float,
    hurry: Callable[[], bool],
    number: signal.Signals = SOFT_STOP,
) -> None:
    """Signals processes and waits until all have ended.

    Args:
        processes: Those that are to end.
        timeout: Seconds after which to wait no more.
        hurry: Asked again and again; once it is true, they are not waited for.
        number: What they are sent.
    """
    for process in processes:
        process.signal(number)
    deadline = time.monotonic() + timeout
    while not all(process.ended() for process in processes):
        if hurry() or time.monotonic() > deadline:
            return
        time.sleep(_POLL_SECONDS)
