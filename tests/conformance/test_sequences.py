"""Sequences remember, each for itself."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.conformance.sequence_models import RUNNING_TOTALS
from tests.conformance.target import Request, Target

pytestmark = pytest.mark.e2e

_numbers = itertools.count(1000)


def new_id() -> int:
    """Gives a correlation ID that no other test has."""
    return next(_numbers)


def step(
    target: Target, model: str, sequence: int | str, value: float, **flags: bool
) -> dict[str, Any]:
    """Sends one request of a running total."""
    x = np.array([[value]], dtype=np.float32)
    return target.infer(model, {"x": x}, None, sequence_id=sequence, **flags)


@pytest.mark.parametrize("name", [model.name for model in RUNNING_TOTALS.values()])
def test_state_is_carried_from_request_to_request(target: Target, name: str) -> None:
    one, two = new_id(), new_id()
    totals = [
        step(target, name, one, 1, sequence_start=True),
        step(target, name, two, 10, sequence_start=True),
        step(target, name, one, 2),
        step(target, name, two, 20, sequence_end=True),
        step(target, name, one, 3, sequence_end=True),
    ]
    assert [total["total"].item() for total in totals] == [1, 10, 3, 30, 6]


@pytest.mark.parametrize("name", [model.name for model in RUNNING_TOTALS.values()])
def test_controls_say_where_in_its_sequence_a_request_is(target: Target, name: str) -> None:
    sequence = new_id()
    steps = [
        step(target, name, sequence, 1, sequence_start=True),
        step(target, name, sequence, 1),
        step(target, name, sequence, 1, sequence_end=True),
    ]
    assert [bool(s["saw_START"].item()) for s in steps] == [True, False, False]
    assert [bool(s["saw_END"].item()) for s in steps] == [False, False, True]
    assert [bool(s["saw_READY"].item()) for s in steps] == [True, True, True]
    assert [s["saw_CORRID"].item() for s in steps] == [sequence] * 3


@pytest.mark.parametrize("name", ["running_total_direct", "running_total_oldest"])
def test_word_may_be_the_id_of_a_sequence(target: Target, name: str) -> None:
    one, two = f"first-{new_id()}", f"second-{new_id()}"
    step(target, name, one, 1, sequence_start=True)
    step(target, name, two, 100, sequence_start=True)
    assert step(target, name, one, 2, sequence_end=True)["total"].item() == 3
    assert step(target, name, two, 2, sequence_end=True)["total"].item() == 102


@pytest.mark.parametrize("name", ["running_total_direct", "running_total_oldest"])
def test_sequence_started_again_in_the_middle_forgets(target: Target, name: str) -> None:
    sequence = new_id()
    step(target, name, sequence, 5, sequence_start=True)
    assert step(target, name, sequence, 1)["total"].item() == 6
    assert step(target, name, sequence, 2, sequence_start=True)["total"].item() == 2
    assert step(target, name, sequence, 1, sequence_end=True)["total"].item() == 3


@pytest.mark.parametrize("name", ["running_total_direct", "running_total_oldest"])
def test_sequences_side_by_side_do_not_mix(target: Target, name: str) -> None:
    ids = [new_id() for _ in range(4)]
    for turn in range(5):
        flags = {"sequence_start": turn == 0, "sequence_end": turn == 4}
        requests = [
            Request(
                name,
                {"x": np.array([[sequence]], np.float32)},
                options={"sequence_id": sequence, **flags},
            )
            for sequence in ids
        ]
        for sequence, result in zip(ids, target.together(requests), strict=True):
            assert not isinstance(result, Exception), result
            assert result["total"].item() == sequence * (turn + 1)


def test_ended_sequence_is_refused(target: Target) -> None:
    sequence = new_id()
    step(target, "running_total_oldest", sequence, 1, sequence_start=True, sequence_end=True)
    with pytest.raises(Exception, match="must specify the START flag"):
        step(target, "running_total_oldest", sequence, 1)


def test_states_start_from_files_and_zeros_and_are_outputs_too(target: Target) -> None:
    sequence, x = new_id(), np.array([1, 10], dtype=np.float32)
    first = target.infer("states_from_files", {"x": x}, sequence_id=sequence, sequence_start=True)
    second = target.infer("states_from_files", {"x": x}, sequence_id=sequence, sequence_end=True)
    assert first["pair_after"].tolist() == [6, 17]
    assert first["count_after"].tolist() == [1]
    assert second["pair_after"].tolist() == [7, 27]
    assert second["count_after"].tolist() == [2]


def test_state_may_change_its_shape(target: Target) -> None:
    ids = [new_id(), new_id()]
    step(target, "growing_state", ids[0], 1, sequence_start=True)
    # From here on the two states differ in length, whenever they are computed together.
    for turn in (1, 2, 3):
        requests = [
            Request(
                "growing_state",
                {"x": np.array([[10 * turn]], np.float32)},
                options={
                    "sequence_id": sequence,
                    "sequence_start": sequence == ids[1] and turn == 1,
                    "sequence_end": turn == 3,
                },
            )
            for sequence in ids
        ]
        results = target.together(requests)
    seen = [r["seen_after"].tolist() for r in results if not isinstance(r, Exception)]
    assert seen == [[[0, 1, 10, 20, 30]], [[0, 10, 20, 30]]]


@pytest.mark.ours("a bad request fails its whole batch, and with it other sequences")
@pytest.mark.usefixtures("indices_are_checked")
def test_failed_request_leaves_every_state_as_it_was(target: Target) -> None:
    good, bad = new_id(), new_id()

    def both(good_id: int, bad_id: int, **flags: bool) -> list[Any]:
        return target.together(
            [
                Request(
                    "total_of_lookups",
                    {"id": np.array([[number]])},
                    options={"sequence_id": sequence, **flags},
                )
                for sequence, number in ((good, good_id), (bad, bad_id))
            ]
        )

    start = both(1, 9, sequence_start=True)
    assert isinstance(start[1], Exception)
    middle = both(2, 3)
    again = both(1, 7)
    assert isinstance(again[1], Exception)
    end = both(0, 1, sequence_end=True)
    assert [r[0]["total_after"].item() for r in (start, middle, again, end)] == [10, 30, 40, 40]
    assert [r[1]["total_after"].item() for r in (middle, end)] == [30, 40]


def test_sequence_that_times_out_makes_room_and_is_gone(target: Target) -> None:
    def send(sequence: int, **flags: bool) -> float:
        x = np.array([1], dtype=np.float32)
        answer = target.infer("one_at_a_time", {"x": x}, None, sequence_id=sequence, **flags)
        return float(answer["total_after"].item())

    abandoned = new_id()
    assert send(abandoned, sequence_start=True) == 1
    # There is room for one, so that this waits until the server has given the other one up.
    assert send(new_id(), sequence_start=True, sequence_end=True) == 1
    with pytest.raises(Exception, match="must specify the START flag"):
        send(abandoned)
    assert send(abandoned, sequence_start=True, sequence_end=True) == 1
