"""Gives the system back what large bodies took, which the C library would keep.

glibc serves blocks of up to 32 MiB from its heap once it has seen one of that size, keeps up to
64 MiB at the end of the heap, and all that is free below a block in use. To map memory for each
large block instead would cost a page fault for every 4 KiB of every body.
"""

from __future__ import annotations

import asyncio
import ctypes

MAX_FREE_BYTES = 16 << 20
"""So much may lie unused."""
_LOOK_SECONDS = 30.0
"""A pause of some milliseconds each time for everybody, if there is much to give back."""


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


class Allocator:
    """The C library's allocator of this process; of others than glibc nothing is known."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._mallinfo = getattr(library, "mallinfo2", None)  # since glibc 2.33
        self._trim = getattr(library, "malloc_trim", None)
        if self._mallinfo is not None:
            self._mallinfo.restype = _Mallinfo

    def free_bytes(self) -> int:
        """What lies unused, whether or not the system has its pages; 0 where nobody knows."""
        return 0 if self._mallinfo is None else int(self._mallinfo().fordblks)

    def trim(self) -> None:
        """Gives unused pages back to the system."""
        if self._trim is not None:
            self._trim(0)


async def return_memory() -> None:
    """Has unused memory given back now and then, until it is cancelled."""
    allocator = Allocator()
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if allocator.free_bytes() > MAX_FREE_BYTES:
            allocator.trim()
