"""Schedules, watches and ends the processes of one server."""

import contextlib
import os
import select
import signal
import time
from pathlib import Path
from typing import NamedTuple

_ZOMBIE = "Z"
_TABLE_SECONDS = 1
"""How often the process table is read, which costs more than asking one process."""
_REAP_SECONDS = 0.05
_REAP_CHECKS = 3


class ProcessState(NamedTuple):
    """One line of the process table."""

    pid: int
    state: str
    parent: int
    group: int


def process_table(proc: Path = Path("/proc")) -> list[ProcessState]:
    """Reads the state of every process."""
    table: list[ProcessState] = []
    for folder in proc.glob("[0-9]*"):
        # A process may end while it is read.
        with contextlib.suppress(OSError):
            # The name stands in parentheses and may itself hold some.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            table.append(ProcessState(int(folder.name), fields[0], int(fields[1]), int(fields[2])))
    return table


def living_in_group(group: int) -> frozenset[int]:
    """The ids of a group's processes that still run."""
    return frozenset(p.pid for p in process_table() if p.group == group and p.state != _ZOMBIE)


def kill_group(group: int) -> None:
    """Ends every process of a group at once; it is no error if there is none left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def remove_shared_memory(prefix: str, folder: Path = Path("/dev/shm")) -> None:  # noqa: S108
    """Removes the shared memory that killed processes left behind, by how its names begin."""
    for region in folder.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def never_interrupt() -> None:
    """Keeps this process, and all that it starts, from interrupting others when it wakes up.

    A request wakes a dozen threads of Triton and of the models' processes. Each would push a
    network off its core in the middle of a product, on which its other threads then wait. With
    SCHED_BATCH (sched(7)) they wait for a free core or for the end of a time slice; how much of
    the cores each gets stays as it is. Where the system forbids it, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def exit_cause(code: int) -> str:
    """Says how a process ended, by the exit code that `subprocess` gives it."""
    return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"


def how_it_ended(pid: int, proc: Path = Path("/proc")) -> str:
    """Says how a process ended that its parent has not noticed yet."""
    with contextlib.suppress(OSError, ValueError):
        status = int((proc / str(pid) / "stat").read_text().split()[-1])
        return exit_cause(os.waitstatus_to_exitcode(status))
    return "unexpectedly"


class ChildWatch:
    """Notices at once, and at little cost, that a child of another process has died."""

    def __init__(self) -> None:
        self._pidfds: dict[int, int] = {}
        self._next_look = 0.0

    def dead_children(self, parent: int) -> frozenset[int]:
        """The ids of a process's children that ended without its noticing.

        A child that the parent ends itself becomes a zombie too, but not for long.
        """
        if time.monotonic() < self._next_look and not self._one_ended():
            return frozenset()
        self._next_look = time.monotonic() + _TABLE_SECONDS
        dead = self._look(parent)
        for _ in range(_REAP_CHECKS):
            if dead:
                time.sleep(_REAP_SECONDS)
                dead &= self._look(parent)
        return dead

    def close(self) -> None:
        """Stops watching."""
        for pidfd in self._pidfds.values():
            os.close(pidfd)
        self._pidfds = {}

    def _look(self, parent: int) -> frozenset[int]:
        children = {p.pid: p.state for p in process_table() if p.parent == parent}
        dead = frozenset(pid for pid, state in children.items() if state == _ZOMBIE)
        alive = children.keys() - dead
        for pid in self._pidfds.keys() - alive:
            os.close(self._pidfds.pop(pid))
        for pid in alive - self._pidfds.keys():
            # It may have ended since, or the kernel may not have the call.
            with contextlib.suppress(OSError):
                self._pidfds[pid] = os.pidfd_open(pid)
        return dead

    def _one_ended(self) -> bool:
        poll = select.poll()
        for pidfd in self._pidfds.values():
            poll.register(pidfd, select.POLLIN)
        return bool(self._pidfds and poll.poll(0))
