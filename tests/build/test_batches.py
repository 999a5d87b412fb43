"""Batches for training: every text in every epoch, among others of its length."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from build.batches import batches


@given(st.lists(st.integers(1, 99), min_size=1, max_size=300), st.integers(1, 40))
def test_every_text_comes_once_in_every_epoch(lengths: list[int], size: int) -> None:
    made = list(batches(lengths, size=size, epochs=2, seed=0))
    assert Counter(row for rows in made for row in rows) == dict.fromkeys(range(len(lengths)), 2)
    assert max(map(len, made)) <= size


def test_a_batch_has_like_lengths_and_an_epoch_has_not() -> None:
    lengths = [row * 37 % 100 for row in range(1000)]
    made = list(batches(lengths, size=10, epochs=1, seed=0))
    assert all(max(lengths[r] for r in rows) - min(lengths[r] for r in rows) < 10 for rows in made)
    firsts = [lengths[rows[0]] for rows in made]
    assert firsts != sorted(firsts)


def test_the_order_is_that_of_the_seed() -> None:
    first, same, other = (
        list(batches(range(200), size=8, epochs=1, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other
