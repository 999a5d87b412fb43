"""Answers of the same bytes are read once."""

import numpy as np

from loadtests.load.expected import Answer
from loadtests.load.senders import LastAnswers


def test_an_answer_is_read_again_only_where_its_bytes_are_others() -> None:
    read: list[bytes] = []

    def reading(raw: bytes) -> Answer:
        read.append(raw)
        return Answer(raw, np.ones(1, np.float32))

    answers = LastAnswers(reading)
    first = answers.answer(0, b"a")
    assert answers.answer(0, b"a") is first
    assert answers.answer(1, b"a") is not first
    assert answers.answer(0, b"b").label == b"b"
    # Only the last one is kept.
    assert answers.answer(0, b"a") is not first
    assert read == [b"a", b"a", b"b", b"a"]
