"""Turns SIGTERM and Ctrl-C into something a loop can ask about."""

import signal
from typing import Any

from typing_extensions import Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopSignals:
    """Counts the stop signals that arrive within a `with` block."""

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def stop(self) -> bool:
        """Tells whether a stop was asked for."""
        return self._count >= 1

    def hurry(self) -> bool:
        """Tells whether it was asked for a second time."""
        return self._count >= 2

    def _note(self, *_: object) -> None:
        self._count += 1
