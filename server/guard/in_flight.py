"""The digests of the requests that the servers of one machine have at this moment."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

MAX_GUARDS = 16
SLOTS = 128
"""Of a guard; what is beyond them is not found by the others."""
_DIGEST_BYTES = 8
_REGION_BYTES = SLOTS * _DIGEST_BYTES
_EMPTY = bytes(_DIGEST_BYTES)


class InFlight:
    """A table in memory that guards share, in which each writes into a region of its own.

    The first bytes say which regions are in use. A region belongs to who holds its lock, which
    ends with its process; the next guard to start takes it over.

    Args:
        folder: A private folder, which is there.
    """

    def __init__(self, folder: Path) -> None:
        handle = os.open(folder / "in_flight", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = MAX_GUARDS + MAX_GUARDS * _REGION_BYTES
            # A page that finds no room later, on a full disk, would end the guard.
            os.posix_fallocate(handle, 0, size)
            self._table = mmap.mmap(handle, size)
        finally:
            os.close(handle)
        self._lock = -1
        self._start = 0
        self._free: list[int] = []
        for region in range(MAX_GUARDS):
            if self._take(folder, region):
                break

    def alone(self) -> bool:
        """Whether no other guard is known."""
        return self._table[:MAX_GUARDS].count(1) <= 1

    def add(self, digest: bytes) -> int | None:
        """Writes a digest into the own region.

        Returns:
            Its slot, to be given back by `remove`; None if there is no room.
        """
        if not self._free:
            return None
        slot = self._free.pop()
        self._table[slot : slot + _DIGEST_BYTES] = digest[:_DIGEST_BYTES]
        return slot

    def remove(self, slot: int) -> None:
        """Gives a slot back."""
        if not self._table.closed:
            self._table[slot : slot + _DIGEST_BYTES] = _EMPTY
            self._free.append(slot)

    def elsewhere(self, digest: bytes) -> bool:
        """Whether another guard has the same request."""
        table, digest = self._table[:], digest[:_DIGEST_BYTES]
        if table.find(digest, MAX_GUARDS, self._start) >= 0:
            return True
        return table.find(digest, self._start + _REGION_BYTES if self._start else MAX_GUARDS) >= 0

    def close(self) -> None:
        """Lets go of the table; what was in flight is so no more."""
        if self._lock >= 0:
            self._table[self._start : self._start + _REGION_BYTES] = bytes(_REGION_BYTES)
            self._table[(self._start - MAX_GUARDS) // _REGION_BYTES] = 0
            os.close(self._lock)
            self._lock = -1
        self._table.close()

    def _take(self, folder: Path, region: int) -> bool:
        lock = os.open(folder / f"in_flight.{region}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        self._start = MAX_GUARDS + region * _REGION_BYTES
        end = self._start + _REGION_BYTES
        self._free = list(range(self._start, end, _DIGEST_BYTES))
        self._table[self._start : end] = bytes(_REGION_BYTES)
        self._table[region] = 1
        return True
