"""All processes that this one started, and those that these left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time

import psutil

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 10.0
"""A process that waits in a driver of the kernel's cannot be ended; nobody waits for it longer."""


def adopt_orphans() -> None:
    """Has the kernel give this process what its children leave behind when they end.

    Raises:
        OSError: The kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def end_descendants() -> None:
    """Ends all descendants of this process, at once."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := psutil.Process().children(recursive=True)) and time.monotonic() < deadline:
        for each in found:
            with contextlib.suppress(psutil.Error):
                each.kill()
        psutil.wait_procs(found, timeout=0.5)
        _reap()


def _reap() -> None:
    """Lets go of children that have ended, the adopted ones too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
