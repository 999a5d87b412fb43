"""Many inputs classified at the same time, each by a call of its own."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from clients.errors import (
    AccessDeniedError,
    ModelNotFoundError,
    ServerLostError,
    ServingError,
    UnavailableError,
    WrongServerError,
)
from clients.results import Classification

T = TypeVar("T")

_FOR_ALL = (UnavailableError, ModelNotFoundError, WrongServerError, AccessDeniedError)


@dataclass(frozen=True)
class CallResult(Generic[T]):
    """What became of the call for one input."""

    input: T
    result: Classification | ServingError
    seconds: float  # from sending the input to its answer

    @property
    def lost(self) -> bool:
        """Whether nobody is there to answer, so that no other input has a chance either."""
        # A server that is lost may have been so because of this input.
        return isinstance(self.result, _FOR_ALL) and not isinstance(self.result, ServerLostError)


def timed_call(classify: Callable[[T], Classification], given: T) -> CallResult[T]:
    """Classifies one input, and keeps the time and the error, if there is one."""
    start = time.perf_counter()
    result: Classification | ServingError
    try:
        result = classify(given)
    except ServingError as error:
        result = error
    return CallResult(given, result, time.perf_counter() - start)


def fan_out(
    inputs: Sequence[T], classify: Callable[[T], Classification], concurrency: int
) -> Iterator[CallResult[T]]:
    """Classifies each input by a call of its own, so that a bad one fails alone.

    `concurrency` calls are under way together, each in a thread, and the server makes batches
    of them. Once the server is lost, the inputs that were not sent yet get the same error.

    Yields:
        One result for each input, in their order.
    """
    lost: list[CallResult[T]] = []

    def call(given: T) -> CallResult[T]:
        if lost:
            return CallResult(given, lost[0].result, 0.0)
        called = timed_call(classify, given)
        if called.lost:
            lost.append(called)
        return called

    with ThreadPoolExecutor(concurrency) as pool:
        yield from pool.map(call, inputs)
