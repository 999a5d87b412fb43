"""Typed results, and messages made readable."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from clients.errors import ServerError, clean
from clients.results import DigitResult, TextResult, read_results


def test_results_are_read_row_by_row() -> None:
    outputs = {
        "LABEL": np.array([[b"3"], [b"0"]], object),
        "PROBABILITIES": np.array([[0.25, 0.75], [0.5, 0.5]], np.float32),
    }
    first, second = read_results(DigitResult, outputs, "mnist")
    assert first == DigitResult("3", (0.25, 0.75))
    assert (first.digit, first.confidence) == (3, 0.75)
    assert second.digit == 0


def test_a_result_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        TextResult("positive", (0.1, 0.9)).label = "negative"  # type: ignore[misc]


def test_a_missing_output_is_the_servers_fault() -> None:
    with pytest.raises(ServerError, match="PROBABILITIES"):
        read_results(TextResult, {"LABEL": np.array([[b"x"]], object)}, "sentiment")


def test_outputs_of_different_length_are_the_servers_fault() -> None:
    outputs = {"LABEL": np.array([[b"x"]], object), "PROBABILITIES": np.zeros((2, 2), np.float32)}
    with pytest.raises(ServerError, match="1 labels and 2 rows"):
        read_results(TextResult, outputs, "sentiment")


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        ("in ensemble 'mnist', IMAGE: no image", "IMAGE: no image"),
        (
            "in ensemble 'sentiment', Failed to process the request(s) for model "
            "'sentiment_tokenizer_0_0', message: ValueError: no\n\nAt:\n  model.py(7): execute\n",
            "ValueError: no",
        ),
        ("plain", "plain"),
    ],
)
def test_messages_lose_what_a_caller_cannot_use(message: str, cleaned: str) -> None:
    assert clean(message) == cleaned
