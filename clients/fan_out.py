"""Many inputs classified one by one, at the same time, none spoiling another."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from clients.errors import ModelNotFoundError, ServingError, UnavailableError
from clients.results import Classification

T = TypeVar("T")


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What became of one input.

    Attributes:
        given: The input.
        result: The answer, or the error in its place.
        seconds: From sending it to the answer.
    """

    given: T
    result: Classification | ServingError
    seconds: float

    @property
    def lost(self) -> bool:
        """Whether nobody is there to answer, so that no other input has a chance either."""
        return isinstance(self.result, UnavailableError | ModelNotFoundError)


def answer_each(
    inputs: Sequence[T], classify: Callable[[T], Classification], at_once: int
) -> Iterator[Answer[T]]:
    """Classifies each input by a request of its own, so that a bad one fails alone.

    They are under way together, and it is the server that makes batches of them. Once the
    server is lost, the inputs that were not sent yet get the same error.

    Args:
        inputs: Any number of inputs.
        classify: Calls the server with one of them; safe to use from several threads.
        at_once: How many are under way at the same time.

    Yields:
        One answer for each input, in their order.
    """
    lost: list[ServingError] = []

    def answer(given: T) -> Answer[T]:
        if lost:
            return Answer(given, lost[0], 0.0)
        start = time.perf_counter()
        try:
            return Answer(given, classify(given), time.perf_counter() - start)
        except ServingError as error:
            failed = Answer(given, error, time.perf_counter() - start)
            if failed.lost:
                lost.append(error)
            return failed

    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(answer, inputs)
