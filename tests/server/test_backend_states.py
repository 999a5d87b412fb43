"""States live as long as their sequences, and no longer."""

from __future__ import annotations

import numpy as np
import pytest

from server.backends.onnxruntime.ort_backend.errors import BadRequestError
from server.backends.onnxruntime.ort_backend.sequences import SequenceConfig, State
from server.backends.onnxruntime.ort_backend.states import SequenceStates
from server.backends.onnxruntime.ort_backend.tensors import Tensors
from tests.clock import Clock

START, END = 1, 2
IDLE = 10.0


@pytest.fixture
def clock() -> Clock:
    """The clock of the states."""
    return Clock()


@pytest.fixture
def states(clock: Clock) -> SequenceStates:
    """States for two sequences at a time."""
    state = State("before", "after", "TYPE_FP32", (1,))
    return SequenceStates(SequenceConfig((), (state,), slots=2, idle_seconds=IDLE), clock)


def inputs() -> Tensors:
    """Makes a request, with the initial state that Triton adds to each."""
    return {"x": np.ones((1, 1)), "before": np.zeros((1, 1))}


def outputs(value: float) -> Tensors:
    """Makes the outputs of a request."""
    return {"after": np.full((1, 1), value)}


def test_state_goes_from_one_request_to_the_next(states: SequenceStates) -> None:
    assert states.restore(1, START, inputs())["before"].item() == 0
    states.save(1, START, outputs(5))
    assert states.restore(1, 0, inputs())["before"].item() == 5


def test_finished_sequence_leaves_nothing(states: SequenceStates) -> None:
    states.restore("a", START, inputs())
    states.save("a", START, outputs(5))
    states.restore("a", END, inputs())
    states.save("a", END, outputs(6))
    assert len(states) == 0


def test_sequence_that_fails_at_its_end_leaves_nothing(states: SequenceStates) -> None:
    states.restore("a", START | END, inputs())
    states.save("a", START | END, None)
    assert len(states) == 0


def test_failed_request_leaves_the_state_as_it_was(states: SequenceStates) -> None:
    states.restore(1, START, inputs())
    states.save(1, START, outputs(5))
    states.restore(1, 0, inputs())
    states.save(1, 0, None)
    assert states.restore(1, 0, inputs())["before"].item() == 5


def test_failed_first_request_leaves_the_initial_state(states: SequenceStates) -> None:
    states.restore(1, START, {**inputs(), "before": np.full((1, 1), 3.0)})
    states.save(1, START, None)
    assert states.restore(1, 0, inputs())["before"].item() == 3


def test_start_forgets_what_was(states: SequenceStates) -> None:
    states.restore(1, START, inputs())
    states.save(1, START, outputs(5))
    assert states.restore(1, START, inputs())["before"].item() == 0
    assert len(states) == 1


def test_number_and_word_are_different_sequences(states: SequenceStates) -> None:
    states.restore(1, START, inputs())
    states.save(1, START, outputs(5))
    assert states.restore("1", START, inputs())["before"].item() == 0


def test_initial_state_is_copied_out_of_the_request(states: SequenceStates) -> None:
    request = inputs()
    states.restore(1, START, request)
    request["before"][:] = 99
    assert states.restore(1, 0, inputs())["before"].item() == 0


def test_kept_state_does_not_hold_its_batch(states: SequenceStates) -> None:
    batch = np.zeros((64, 1))
    states.restore(1, START, inputs())
    states.save(1, START, {"after": batch[3:4]})
    assert not np.shares_memory(states.restore(1, 0, inputs())["before"], batch)


def test_more_sequences_than_slots_evict_the_oldest(states: SequenceStates) -> None:
    for sequence in (1, 2, 3):
        states.restore(sequence, START, inputs())
        states.evict({sequence})
    assert len(states) == 2
    with pytest.raises(BadRequestError, match="sequence 1 was idle for too long"):
        states.restore(1, 0, inputs())


def test_sequence_in_the_batch_is_never_evicted(states: SequenceStates) -> None:
    for sequence in (1, 2, 3):
        states.restore(sequence, START, inputs())
    states.evict({1, 2, 3})
    assert len(states) == 3


def test_idle_sequence_is_evicted(states: SequenceStates, clock: Clock) -> None:
    states.restore(1, START, inputs())
    clock.now = IDLE + 61
    states.restore(2, START, inputs())
    states.evict({2})
    assert len(states) == 1


def test_sequence_whose_request_waits_is_not_evicted(states: SequenceStates, clock: Clock) -> None:
    states.restore(1, START, inputs())
    clock.now = IDLE + 59
    states.restore(2, START, inputs())
    states.evict({2})
    assert len(states) == 2
