"""Which calls are repeated, and when."""

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.deadline import Deadline
from clients.errors import (
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    ServerError,
    ServingError,
    UnavailableError,
)
from clients.retry import RetryPolicy, call_with_retries


class Scripted:
    """Raises its errors one after the other, then answers."""

    def __init__(self, *errors: ServingError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def call(
    attempt: Callable[[], str], policy: RetryPolicy | None = None, seconds: float = 60
) -> tuple[str, list[float]]:
    """The answer, and the waits before it, none of which is really waited."""
    waits: list[float] = []
    answer = call_with_retries(
        attempt, policy or RetryPolicy(), Deadline(seconds), waits.append, lambda: 0.0
    )
    return answer, waits


def test_unavailable_is_repeated_with_growing_waits() -> None:
    attempt = Scripted(*[UnavailableError("busy")] * 3)
    answer, waits = call(attempt)
    assert answer == "answer"
    assert waits == pytest.approx([0.1, 0.2, 0.4])


def test_the_last_error_is_raised_when_retries_are_used_up() -> None:
    attempt = Scripted(*[UnavailableError(f"busy {number}") for number in range(9)])
    with pytest.raises(UnavailableError, match="busy 2"):
        call(attempt, RetryPolicy(retries=2))
    assert attempt.calls == 3


@pytest.mark.parametrize(
    "kind", [InvalidInputError, ModelNotFoundError, ServerError, DeadlineExceededError]
)
def test_no_other_error_is_repeated(kind: type[ServingError]) -> None:
    attempt = Scripted(kind("no"))
    with pytest.raises(kind):
        call(attempt)
    assert attempt.calls == 1


def test_no_retry_starts_after_the_deadline() -> None:
    attempt = Scripted(UnavailableError("busy"))
    with pytest.raises(UnavailableError, match="busy"):
        call(attempt, RetryPolicy(first_wait=5), seconds=1)
    assert attempt.calls == 1


@given(retry=st.integers(0, 50), chance=st.floats(0, 1))
def test_waits_stay_within_their_jitter(retry: int, chance: float) -> None:
    policy = RetryPolicy(first_wait=0.1, growth=2, longest_wait=2, jitter=0.2)
    longest = min(0.1 * 2**retry, 2)
    assert longest * 0.8 <= policy.wait(retry, chance) <= longest


def test_a_negative_number_of_retries_is_refused() -> None:
    with pytest.raises(ValueError, match="retries"):
        RetryPolicy(retries=-1)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="more than 0 seconds"):
        Deadline(seconds)


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(InvalidInputError("wrong", "mnist")))  # noqa: S301
    assert str(error) == "model 'mnist': wrong"
