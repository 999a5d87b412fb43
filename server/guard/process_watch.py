"""Notices at once that another process has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable


def watch_process(pid: int, ended: Callable[[], None]) -> None:
    """Has the running event loop call `ended` once, when a process ends.

    Without the process, or a kernel that tells of its end, nothing is called.
    """
    if not pid:
        return
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        loop = asyncio.get_running_loop()

        def tell() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            ended()

        loop.add_reader(handle, tell)
