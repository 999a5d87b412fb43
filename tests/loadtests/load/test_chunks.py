"""Texts cut into pieces."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.publish import VERSION
from loadtests.load.network import MAX_CHUNKS, cuts
from loadtests.load.requests import sequence_lengths
from loadtests.load.workload import Sample, workloads
from tests.conftest import REPOSITORY

NETWORK = REPOSITORY / "sentiment_rnn" / VERSION


@given(length=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_pieces_are_the_whole_and_none_is_empty(length: int, seed: int) -> None:
    found = list(cuts(length, np.random.default_rng(seed)))
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    assert all(start < end for start, end, _ in found)
    assert found[-1][1] == length
    assert [last for *_, last in found] == [False] * (len(found) - 1) + [True]
    assert len(found) <= MAX_CHUNKS


def test_cuts_fall_into_words_and_come_in_every_number() -> None:
    chance = np.random.default_rng(0)
    numbers = {len(list(cuts(40, chance))) for _ in range(200)}
    assert numbers == set(range(1, MAX_CHUNKS + 1))


def texts_of(samples: list[Sample]) -> list[str]:
    """The texts that pieces make."""
    texts, text = [], ""
    for sample in samples:
        text += sample.sent["TEXT"].item().decode()
        if sample.last:
            texts.append(text)
            text = ""
    assert not text
    return texts


def test_the_pieces_of_a_seed_are_the_reviews_of_that_seed() -> None:
    pieces = workloads()["sentiment_stream"].draw(20, 3, NETWORK)
    whole = workloads()["sentiment"].draw(20, 3, NETWORK)
    assert texts_of(pieces) == [sample.sent["TEXT"].item().decode() for sample in whole]
    cut_within_a_word = [
        one.sent["TEXT"].item()[-1:].isalpha() and other.sent["TEXT"].item()[:1].isalpha()
        for one, other in pairwise(pieces)
        if not one.last
    ]
    assert any(cut_within_a_word)
    again = workloads()["sentiment_stream"].draw(20, 3, NETWORK)
    assert [a.sent["TEXT"].item() for a in again] == [p.sent["TEXT"].item() for p in pieces]


def test_the_final_ids_of_all_pieces_are_those_of_the_last_answer() -> None:
    final: list[int] = []
    for sent, reference, last in workloads()["sentiment_rnn"].draw(20, 3, NETWORK):
        kept = int(sent["kept"].item())
        ids = sent["input_ids"][0].tolist()
        assert reference["input_ids"].tolist() == [*final, *ids]
        final += ids[:kept]
        if last:
            assert kept == len(ids)
            final = []


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [
        ([None, None], ()),
        ([True, True], (1, 1)),
        ([False, True, True], (2, 1)),
        ([True, False, False, True], (1, 3)),
    ],
)
def test_an_input_has_the_requests_up_to_its_last(
    lasts: list[bool | None], expected: tuple[int, ...]
) -> None:
    assert sequence_lengths([Sample({}, {}, last) for last in lasts]) == expected
