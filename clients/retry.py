"""When a call is retried, and after how long a wait."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from clients.deadline import Deadline
from clients.errors import UnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    The defaults wait at most 1.5 s in all: more than the second for which a gRPC channel
    keeps refusing calls after a failed connection.

    Attributes:
        retries: How often a call is repeated after its first attempt; 0 for never.
        first_wait: Seconds before the first retry.
        growth: Factor from each wait to the next.
        longest_wait: Seconds that no wait exceeds.
        jitter: The part of a wait that is random, 0 to 1, so that callers who were
            refused together do not return together.
    """

    retries: int = 4
    first_wait: float = 0.1
    growth: float = 2.0
    longest_wait: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must be 0 or more, got {self.retries}")

    def wait(self, retry: int, chance: float) -> float:
        """Seconds before a retry, the first being number 0; `chance`, 0 to 1, sets the jitter."""
        longest = min(self.first_wait * self.growth**retry, self.longest_wait)
        return longest * (1 - self.jitter * chance)


def call_with_retries(
    attempt: Callable[[], T],
    policy: RetryPolicy,
    deadline: Deadline,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Calls until an answer, an error that no retry would mend, or the deadline.

    Only `UnavailableError` is repeated: any other answer would be the same again, or
    would load a server that already does more than it can.

    Raises:
        UnavailableError: The last attempt's, once retries or time are used up.
    """
    for retry in range(policy.retries):
        try:
            return attempt()
        except UnavailableError:
            wait = policy.wait(retry, chance())
            # The refusal says more than "deadline exceeded" would.
            if wait >= deadline.left():
                raise
        sleep(wait)
    return attempt()
