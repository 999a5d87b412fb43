"""When a call is retried, and after how long a wait."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from clients.deadline import Deadline
from clients.errors import ServerLostError, UnavailableError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    The defaults wait at most 1.5 s in all: more than the second for which a gRPC channel
    keeps refusing calls after a failed connection. Where a server was lost with the request
    under way, the wait is the longest, so that whoever watches the servers has noticed.

    Attributes:
        retries: How often a request is repeated after its first attempt; 0 for never.
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

    def wait_for_another(self, chance: float, left: float) -> float:
        """Seconds before a request goes to another server; at most half of those `left`."""
        return min(self.longest_wait * (1 - self.jitter * chance), left / 2)


def call_with_retries(
    attempt: Callable[[], T],
    policy: RetryPolicy,
    deadline: Deadline,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> T:
    """Calls until an answer, an error that no retry would mend, or the deadline.

    Only `UnavailableError` is repeated: any other answer would be the same again, or
    would load a server that already does more than it can. Of those, `ServerLostError` is
    repeated once, since the request may be what ends the servers that it reaches.

    Raises:
        UnavailableError: The last attempt's, once retries or time are used up.
    """
    was_lost = False
    for retry in range(policy.retries):
        try:
            return attempt()
        except UnavailableError as error:
            is_lost = isinstance(error, ServerLostError)
            left = deadline.left()
            wait = (
                policy.wait_for_another(chance(), left) if is_lost else policy.wait(retry, chance())
            )
            # The refusal says more than "deadline exceeded" would.
            if (is_lost and was_lost) or wait >= left:
                raise
            was_lost = was_lost or is_lost
        sleep(wait)
    return attempt()
