"""Notices at once that Triton, or the process of one of its models, has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from server.processes import process_table

_LOOK_SECONDS = 1.0
_MAX_LOOK_SECONDS = 10.0
_ZOMBIE = "Z"
_REAP_SECONDS = 0.05
"""A process that Triton itself ends is no zombie for longer."""


class ProcessWatch:
    """Watches a Triton on this machine; without one it does nothing.

    Args:
        pid: The process of Triton, or 0.
        shaken: Called when a process of a model ends, for whatever reason.
        ended: Called when Triton has ended, or a process of a model without Triton's doing:
            whoever watches the server ends it then.
    """

    def __init__(self, pid: int, shaken: Callable[[], None], ended: Callable[[], None]) -> None:
        self._pid = pid
        self._shaken = shaken
        self._ended = ended
        self._handles: dict[int, int] = {}
        self._look: asyncio.Task[None] | None = None

    @property
    def watched(self) -> frozenset[int]:
        """The processes whose end would be noticed."""
        return frozenset(self._handles)

    def start(self) -> None:
        """Begins."""
        if self._pid:
            self._watch(self._pid, self._ended)
            self._look = asyncio.get_running_loop().create_task(self._look_for_models())

    def stop(self) -> None:
        """Ends."""
        if self._look is not None:
            self._look.cancel()
        for pid in list(self._handles):
            self._forget(pid)

    async def _look_for_models(self) -> None:
        """Finds the processes of models, which come and go with them."""
        pause = _LOOK_SECONDS
        while True:
            new = await asyncio.to_thread(_children, self._pid) - self._handles.keys()
            for pid in new:
                self._watch(pid, lambda pid=pid: self._model_ended(pid))  # type: ignore[misc]
            # The process table takes milliseconds to read.
            pause = _LOOK_SECONDS if new else min(2 * pause, _MAX_LOOK_SECONDS)
            await asyncio.sleep(pause)

    def _watch(self, pid: int, ended: Callable[[], None]) -> None:
        # It may be gone already, or the kernel may not have the call.
        with contextlib.suppress(OSError):
            handle = self._handles[pid] = os.pidfd_open(pid)
            loop = asyncio.get_running_loop()

            def tell() -> None:
                self._forget(pid)
                ended()

            loop.add_reader(handle, tell)

    def _forget(self, pid: int) -> None:
        handle = self._handles.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)

    def _model_ended(self, pid: int) -> None:
        self._shaken()
        loop = asyncio.get_running_loop()
        loop.call_later(_REAP_SECONDS, lambda: self._ended() if _is_zombie(pid) else None)


def _children(pid: int) -> set[int]:
    return {p.pid for p in process_table() if p.parent == pid and p.state != _ZOMBIE}


def _is_zombie(pid: int) -> bool:
    try:
        # The name stands in parentheses and may itself hold some.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == _ZOMBIE
    except OSError:
        return False
