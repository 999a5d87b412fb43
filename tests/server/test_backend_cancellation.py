"""Asking for cancellation costs a small part of the time, and is not left out when it pays."""

from __future__ import annotations

from server.backends.onnxruntime.ort_backend.cancellation import CancellationBudget

ASKING = 40e-6


class Caller:
    """A caller who has gone; each question takes time on the clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def clock(self) -> float:
        """Tells the time."""
        return self.now

    def gone(self) -> bool:
        """Answers."""
        self.asked += 1
        self.now += ASKING
        return True


def test_every_request_that_waited_for_a_long_one_is_asked() -> None:
    caller = Caller()
    budget = CancellationBudget(caller.clock)
    budget.earn(1.0)
    assert all(budget.is_cancelled(caller.gone) for _ in range(64))


def test_first_request_is_asked() -> None:
    caller = Caller()
    assert CancellationBudget(caller.clock).is_cancelled(caller.gone)


def test_asking_takes_a_small_part_of_the_time() -> None:
    caller = Caller()
    budget = CancellationBudget(caller.clock)
    computing = 100e-6
    for _ in range(10_000):
        budget.is_cancelled(caller.gone)
        budget.earn(computing)
    assert 0.007 < caller.now / (10_000 * computing) < 0.02


def test_idle_time_is_not_saved_up_for_ever() -> None:
    caller = Caller()
    budget = CancellationBudget(caller.clock)
    budget.earn(3600)
    while budget.is_cancelled(caller.gone):
        pass
    assert caller.now <= 0.11
