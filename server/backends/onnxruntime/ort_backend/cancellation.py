"""Decides whether it is worth asking if the callers of requests have gone."""

from __future__ import annotations

from collections.abc import Callable

_SHARE = 0.01
"""What asking may cost, as a part of the time spent computing."""
_MAX_SECONDS = 0.1
_FIRST_ASK_SECONDS = 50e-6
"""What the first question is taken to cost, until it is measured."""


class CancellationBudget:
    """Lets a caller be asked as often as that takes a small part of the time.

    Asking goes through the server and takes as long as computing a small request. A request
    can have been abandoned only while others computed before it: each computation earns the
    time for questions, and a long one enough to ask every request that waited for it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Starts with enough time for a few questions.

        Args:
            clock: gives the time in seconds.
        """
        self._clock = clock
        self._seconds = 10 * _FIRST_ASK_SECONDS
        self._cost = _FIRST_ASK_SECONDS

    def earn(self, seconds: float) -> None:
        """Notes how long something was computed.

        Args:
            seconds: how long.
        """
        self._seconds = min(_MAX_SECONDS, self._seconds + _SHARE * seconds)

    def is_cancelled(self, ask: Callable[[], bool]) -> bool:
        """Asks, if there is time for it.

        Args:
            ask: the request's own method.

        Returns:
            Whether the caller is known to have gone.
        """
        if self._seconds < self._cost:
            return False
        start = self._clock()
        cancelled = ask()
        self._cost = self._clock() - start
        self._seconds -= self._cost
        return cancelled
