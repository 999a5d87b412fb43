"""Turns signals that mean stop into something a loop can ask about."""

import signal
import time
from collections.abc import Callable
from typing import Any

from typing_extensions import Self

SOFT_STOP = signal.SIGUSR1
"""What a parent tells a process of ours to finish and end with, as HAProxy has it.

A parent starts such a process with the signals of everybody else ignored: who signals a whole
process group or control group, as systemd does, must not stop it before its turn.
"""
STOP_AT_ONCE = signal.SIGQUIT
"""Stops without waiting for the requests under way."""
FOR_EVERYBODY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HURRY_SECONDS = 1.0


class StopSignals:
    """Notes the stop signals that arrive within a `with` block.

    One that this process was started with as ignored (`nohup`, a job in the background) stays
    ignored. After a stop was asked for, further ones have no effect on the end of the process.

    Args:
        clock: The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stop = False
        self._hurry = False
        self._first_interrupt: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (*FOR_EVERYBODY, SOFT_STOP, STOP_AT_ONCE):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # make, a shell and a control group each send the same stop: the last of them must not
            # end a process that has finished everything and is about to say so.
            signal.signal(number, signal.SIG_IGN if self._stop else handler)

    def stop(self) -> bool:
        """Tells whether a stop was asked for."""
        return self._stop

    def hurry(self) -> bool:
        """Tells whether requests under way are to be dropped.

        Only a person asks for that, by a second Ctrl-C some time after the first. SIGTERM never
        does: make, a shell, an init and a control group all pass on the one that they got.
        """
        return self._hurry

    def _note(self, number: int, _: object) -> None:
        self._stop = True
        if number == STOP_AT_ONCE:
            self._hurry = True
        elif number == signal.SIGINT:
            now = self._clock()
            if self._first_interrupt is None:
                self._first_interrupt = now
            elif now - self._first_interrupt >= _HURRY_SECONDS:
                self._hurry = True
