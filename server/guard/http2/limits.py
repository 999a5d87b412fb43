"""How much of what costs the guard and brings nobody anything a peer may send."""

from __future__ import annotations

from collections.abc import Callable

MAX_STREAMS = 256
"""Streams of one connection at once."""
MAX_HEADER_LIST_BYTES = 16 * 1024
MAX_BLOCK_BYTES = 32 * 1024
MAX_CONTINUATIONS = 16
MAX_SETTINGS = 64
"""Entries of one SETTINGS frame."""
MAX_FRAME_BYTES = 64 * 1024
MAX_UNREAD_CONTROL_BYTES = 64 * 1024
"""Answers to PING and the like that wait for a peer that does not read."""
STREAM_WINDOW = 256 * 1024
SMALL_FRAGMENT = 256

_BURST = 2_000
_PER_SECOND = 200
_EARNED_BY_ANSWER = 4


class Allowance:
    """A budget of frames that gRPC needs few of: PING, SETTINGS, RST_STREAM, empty DATA ….

    It fills with time and with every request answered: clients that measure the connection send
    a PING for each answer.

    Args:
        clock: Gives the time in seconds.
    """

    __slots__ = ("_clock", "_left", "_then")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._then = clock()
        self._left = float(_BURST)

    def spend(self, cost: int = 1) -> bool:
        """Takes from the budget.

        Returns:
            Whether there was so much.
        """
        left = self._left - cost
        if left < _BURST / 2:
            now = self._clock()
            left = min(left + (now - self._then) * _PER_SECOND, _BURST)
            self._then = now
        self._left = left
        return left >= 0

    def earn(self) -> None:
        """Counts a request that was answered."""
        self._left = min(self._left + _EARNED_BY_ANSWER, _BURST)
