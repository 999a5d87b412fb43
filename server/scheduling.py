"""How the kernel lets the server's processes take turns on the cores."""

from __future__ import annotations

import contextlib
import os


def never_interrupt() -> None:
    """Keeps this process, and all that it starts, from interrupting others when it wakes up.

    A request wakes a dozen threads of Triton and of the models' processes. Each would push a
    network off its core in the middle of a product, on which its other threads then wait. With
    SCHED_BATCH (sched(7)) they wait for a free core or for the end of a time slice; how much of
    the cores each gets stays as it is. Where the system forbids it, nothing changes.
    """
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
