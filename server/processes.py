"""Looks at and ends the processes of one server."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

_ZOMBIE = "Z"


@dataclass(frozen=True)
class ProcessState:
    """One line of the process table."""

    pid: int
    state: str
    parent: int
    group: int


def process_table(proc: Path = Path("/proc")) -> list[ProcessState]:
    """Reads the process table.

    Args:
        proc: where the proc file system is mounted.

    Returns:
        A line for each process.
    """
    table: list[ProcessState] = []
    for folder in proc.glob("[0-9]*"):
        # A process may end while it is read.
        with contextlib.suppress(OSError):
            # The name stands in parentheses and may itself hold some.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            table.append(ProcessState(int(folder.name), fields[0], int(fields[1]), int(fields[2])))
    return table


def dead_children(pid: int) -> frozenset[int]:
    """Finds the children of a process that ended and that it has not noticed.

    Args:
        pid: the parent.

    Returns:
        Their process ids.
    """
    return frozenset(p.pid for p in process_table() if p.parent == pid and p.state == _ZOMBIE)


def living_in_group(group: int) -> frozenset[int]:
    """Finds the processes of a group that still run.

    Args:
        group: the group's id.

    Returns:
        Their process ids.
    """
    return frozenset(p.pid for p in process_table() if p.group == group and p.state != _ZOMBIE)


def kill_group(group: int) -> None:
    """Ends every process of a group at once; none left is no error.

    Args:
        group: the group's id.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def remove_shared_memory(prefix: str, folder: Path = Path("/dev/shm")) -> int:  # noqa: S108
    """Removes the shared memory that killed processes left behind.

    Args:
        prefix: how its names begin.
        folder: where the kernel shows it.

    Returns:
        The number of regions removed.
    """
    leftovers = list(folder.glob(f"{prefix}*"))
    for region in leftovers:
        region.unlink(missing_ok=True)
    return len(leftovers)


class ChildWatch:
    """Notices at once, and at no cost, that a child of another process has ended."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def look(self, parent: int) -> None:
        """Reads the process table for the children to watch.

        Args:
            parent: whose children.
        """
        children = {p.pid for p in process_table() if p.parent == parent and p.state != _ZOMBIE}
        for pid in self._files.keys() - children:
            os.close(self._files.pop(pid))
        for pid in children - self._files.keys():
            # It may have ended since, or the kernel may not have the call.
            with contextlib.suppress(OSError):
                self._files[pid] = os.pidfd_open(pid)

    def one_ended(self) -> bool:
        """Tells whether one of them has ended since the last look."""
        poll = select.poll()
        for file in self._files.values():
            poll.register(file, select.POLLIN)
        return bool(self._files and poll.poll(0))

    def close(self) -> None:
        """Watches none any more."""
        for file in self._files.values():
            os.close(file)
        self._files = {}
