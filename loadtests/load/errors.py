"""What ends a load test before it has a result, and a request without a right answer."""

from __future__ import annotations

from loadtests.load.request_log import Outcome


class LoadTestError(Exception):
    """A failure that its one-line message explains to the person who ran the command."""


class SettingsError(LoadTestError):
    """A setting has a value that cannot be used."""


class FailedRequestError(Exception):
    """A request without a right answer; its text is the name of the failure in reports."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(f"{outcome.title}: {message}" if message else outcome.title)
        self.outcome = outcome

    def __repr__(self) -> str:
        """As Locust shows it."""
        return str(self)


def first_words(message: str) -> str:
    """A message short enough that the same failures are counted together."""
    return " ".join(message.split())[:120]
