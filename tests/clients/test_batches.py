"""Cutting rows into batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.batches import split


@given(rows=st.integers(0, 2000), largest=st.integers(1, 128))
def test_batches_cover_every_row_once_and_in_order(rows: int, largest: int) -> None:
    numbers = list(range(rows))
    assert [number for batch in split(rows, largest) for number in numbers[batch]] == numbers


@given(rows=st.integers(1, 2000), largest=st.integers(1, 128))
def test_batches_are_as_few_and_as_equal_as_possible(rows: int, largest: int) -> None:
    sizes = [batch.stop - batch.start for batch in split(rows, largest)]
    assert len(sizes) == -(-rows // largest)
    assert min(sizes) >= 1
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1


def test_a_batch_of_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        list(split(3, 0))
