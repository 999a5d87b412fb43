"""Bounds what all calls together keep in memory: messages that arrive, answers that wait."""

from __future__ import annotations

from typing import Protocol

from server.guard.refusal import GrpcCode, Refusal


class Holder(Protocol):
    """Somebody who keeps bytes, and who can be told to let them go."""

    def refuse(self, refusal: Refusal) -> None:
        """Ends it, for this reason."""


class Memory:
    """Counts what is kept, and ends whoever has kept the longest once it is too much.

    Who sends and reads at a usual pace keeps little and for a moment, so this meets those who
    are slow on purpose, and nobody has to wait for them.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.total = 0
        self._limit = limit
        self._held: dict[Holder, int] = {}

    def hold(self, holder: Holder, amount: int) -> None:
        """Notes how many bytes somebody keeps now."""
        before = self._held.get(holder, 0)
        if amount == before:
            return
        if amount:
            self._held[holder] = amount
        else:
            self._held.pop(holder, None)
        self.total += amount - before
        while self.total > self._limit and self._held:
            oldest = next(iter(self._held))
            self.release(oldest)
            oldest.refuse(
                Refusal(
                    "the guard's memory is full, and this call has kept some for the longest time",
                    503,
                    GrpcCode.RESOURCE_EXHAUSTED,
                    "busy",
                )
            )

    def release(self, holder: Holder) -> None:
        """Notes that somebody keeps nothing any more."""
        self.total -= self._held.pop(holder, 0)
