"""A request that brought no right answer."""

from __future__ import annotations

from loadtests.load.request_log import Outcome


class FailedRequestError(Exception):
    """A request that brought no right answer; its text is the report's name for it."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(f"{outcome.title}: {message}" if message else outcome.title)
        self.outcome = outcome


def first_words(message: str) -> str:
    """A message short enough that the same failures are counted together."""
    return " ".join(message.split())[:120]
