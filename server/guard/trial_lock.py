"""A lock that one request at a time may hold, in one of the guards of a machine."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path


class TrialLock:
    """A lock over all processes that open the same file, which ends with its holder.

    The file names who holds it. Whoever finds a name there after taking the lock knows that its
    holder was killed.

    Args:
        file: Made if it is missing.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._turn = asyncio.Lock()
        self._held = False

    async def take_turn(self) -> None:
        """Waits until nobody else in this process holds the lock or waits for it."""
        await self._turn.acquire()

    def try_lock(self, name: str) -> str | None:
        """Takes the lock, in one's turn, unless another process holds it.

        Returns:
            The name that a killed holder left, mostly an empty one; None if it is held.
        """
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        self._held = True
        left = os.pread(self._file, 256, 0).decode(errors="replace")
        self._write(name)
        return left

    def release(self) -> None:
        """Ends one's turn, and gives the lock back where it was taken."""
        if self._file < 0:
            return
        if self._held:
            self._held = False
            self._write("")
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._turn.release()

    def close(self) -> None:
        """Lets go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file, self._held = -1, False

    def _write(self, name: str) -> None:
        # A full disk takes only the note of a killed guard.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, name.encode(), 0)
