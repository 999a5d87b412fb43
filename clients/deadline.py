"""The point in time by which a whole call must be over."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from clients.errors import DeadlineExceededError


class Deadline:
    """Counts down from the moment it is made.

    Raises:
        ValueError: `seconds` is not more than 0.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError(f"a timeout must be more than 0 seconds, got {seconds:g}")
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; 0 or less once it has passed."""
        return self._end - time.monotonic()

    def require(self, model: str = "") -> float:
        """Seconds left, more than 0.

        Raises:
            DeadlineExceededError: Nothing is left.
        """
        left = self.left()
        if left <= 0:
            raise self.exceeded(model)
        return left

    @contextmanager
    def for_one_attempt(self, url: str) -> Iterator[float]:
        """The seconds left for the only attempt of a `with` block.

        Raises:
            DeadlineExceededError: It did not answer in them; the message names the server.
        """
        try:
            yield self.require()
        except DeadlineExceededError as error:
            why = f"no answer from {url} within {self.seconds:g} s"
            raise DeadlineExceededError(why) from error

    def exceeded(self, model: str = "") -> DeadlineExceededError:
        """The error that says that this deadline passed."""
        return DeadlineExceededError(f"no answer within {self.seconds:g} s", model)
