"""How long one connection may take: for a request to arrive, for its answer to be taken off."""

from __future__ import annotations

from server.guard.settings import GuardSettings

_SLOWEST = 64 << 10
"""Bytes a second that a long body has to come with."""


class Timeouts:
    """The times of one connection, in the seconds of the event loop's clock.

    Args:
        settings: How long each may be.
        now: When it was opened.

    Attributes:
        since: When the last request began to arrive, or its answer ended.
    """

    __slots__ = ("_settings", "_stalled", "_used", "since")

    def __init__(self, settings: GuardSettings, now: float) -> None:
        self.since = now
        self._settings = settings
        self._used = False
        self._stalled: tuple[int, float] = (0, now)

    def request_begins(self, now: float) -> None:
        """Notes the first bytes of a request."""
        self.since = now
        self._used = True

    def is_stalled(self, unsent: int, now: float) -> bool:
        """Whether the caller has taken nothing of an answer off for too long.

        Args:
            unsent: Bytes of it that wait to be sent.
            now: The time.
        """
        if not unsent or unsent != self._stalled[0]:
            self._stalled = unsent, now
        return now - self._stalled[1] > self._settings.read_timeout

    def is_late(self, received: int, now: float) -> bool:
        """Whether a request takes too long to arrive, of whose body so many bytes are there."""
        return now - self.since > self._settings.read_timeout + received / _SLOWEST

    def is_idle(self, now: float) -> bool:
        """Whether no request has come for too long; the first one has less time."""
        settings = self._settings
        return now - self.since > (settings.idle_timeout if self._used else settings.read_timeout)
