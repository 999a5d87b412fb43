"""Reads an answer only where its bytes are other than those of the last answer to that request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from loadtests.load.expected import Answer

Raw = TypeVar("Raw")


class LastAnswers(Generic[Raw]):
    """The last answer to each request.

    A server mostly says the same to the same input, to the byte. Reading it again would take
    processor time from the server on this machine, and could say nothing new.

    Args:
        read: Reads what came over the wire; the same from the same bytes.
    """

    def __init__(self, read: Callable[[Raw], Answer]) -> None:
        self._read = read
        self._last: dict[int, tuple[Raw, Answer]] = {}

    def raw(self, index: int) -> Raw | None:
        """What came over the wire last time; None before the first."""
        last = self._last.get(index)
        return last[0] if last else None

    def answer(self, index: int, raw: Raw) -> Answer:
        """The answer to a request: the same object as last time for the same bytes."""
        last = self._last.get(index)
        if last is not None and (last[0] is raw or last[0] == raw):
            return last[1]
        answer = self._read(raw)
        self._last[index] = raw, answer
        return answer
