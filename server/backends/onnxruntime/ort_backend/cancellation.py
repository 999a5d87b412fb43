"""Decides whether it is worth asking if the caller of a request has cancelled it."""

from collections.abc import Callable

_SHARE = 0.01
"""What asking may cost, as a part of the time spent computing."""
_MAX_SECONDS = 0.1
_FIRST_ASK_SECONDS = 50e-6
"""What the first question is taken to cost, until it is measured."""


class CancellationBudget:
    """Limits the time spent asking to a small part of the time spent computing.

    Asking goes through the server and takes as long as computing a small request. A request
    can have been cancelled only while others computed before it: each computation earns time
    for asking, and a long one enough to ask every request that waited for it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock  # in seconds
        self._seconds = 10 * _FIRST_ASK_SECONDS  # enough to ask a few times at the start
        self._cost = _FIRST_ASK_SECONDS

    def earn(self, seconds: float) -> None:
        """Adds to the budget what a computation of that many seconds earns."""
        self._seconds = min(_MAX_SECONDS, self._seconds + _SHARE * seconds)

    def is_cancelled(self, ask: Callable[[], bool]) -> bool:
        """Asks by a request's own method, if there is time; False where it is not known."""
        if self._seconds < self._cost:
            return False
        start = self._clock()
        cancelled = ask()
        self._cost = self._clock() - start
        self._seconds -= self._cost
        return cancelled
