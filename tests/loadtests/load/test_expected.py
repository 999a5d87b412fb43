"""What counts as a wrong answer."""

import numpy as np
import pytest

from build.catalogue import precision_of
from loadtests.load.expected import Answer, Expected, Explained

EXPECTED = Expected(
    (b"negative", b"positive"), np.array([[0.9, 0.1], [0.49, 0.51]], np.float32), tolerance=0.02
)


def problem(index: int, label: bytes, *probabilities: float) -> str:
    return EXPECTED.problem(index, Answer(label, np.array(probabilities, np.float32)))


def test_the_expected_answer_is_right_and_so_is_one_within_the_tolerance() -> None:
    assert problem(0, b"negative", 0.9, 0.1) == ""
    assert problem(0, b"negative", 0.885, 0.115) == ""


def test_other_probabilities_are_wrong() -> None:
    assert problem(0, b"negative", 0.87, 0.13) == "other probabilities"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_wrong(value: float) -> None:
    assert problem(0, b"negative", value, 0.1) == "other probabilities"


def test_another_label_is_wrong_even_with_the_right_probabilities() -> None:
    assert problem(0, b"positive", 0.9, 0.1) == "another label"


def test_where_the_tolerance_decides_either_label_is_right_but_no_unknown_one() -> None:
    assert problem(1, b"negative", 0.505, 0.495) == ""
    assert problem(1, b"positiv", 0.505, 0.495) == "another label"


def test_another_number_of_classes_is_wrong() -> None:
    assert problem(0, b"negative", 0.9, 0.1, 0.0) == "another number of probabilities"


def test_the_precision_is_in_the_name_of_the_file() -> None:
    names = ("model.onnx", "model.int8.onnx", "model.fp16.onnx")
    assert [precision_of(name) for name in names] == ["fp32", "int8", "fp16"]


EXPLAINED = Expected.of(
    [Answer(b"yes", np.array([0.1, 0.9], np.float32), Explained(np.array([1, -1], "f4"), b"a b"))],
    "fp32",
)


@pytest.mark.parametrize(
    ("attributions", "words", "problem"),
    [
        ([1, -1], b"a b", ""),
        ([1.0005, -1], b"a b", ""),
        ([1.1, -1], b"a b", "other attributions"),
        ([np.nan, -1], b"a b", "other attributions"),
        ([1, -1], b"a c", "other words"),
        ([1], b"a b", "another number of attributions"),
    ],
)
def test_an_explanation_is_wrong_by_its_attributions_and_by_its_words(
    attributions: list[float], words: bytes, problem: str
) -> None:
    explained = Explained(np.array(attributions, np.float32), words)
    answer = Answer(b"yes", np.array([0.1, 0.9], np.float32), explained)
    assert EXPLAINED.problem(0, answer) == problem


def test_an_explanation_that_is_missing_is_wrong() -> None:
    answer = Answer(b"yes", np.array([0.1, 0.9], np.float32))
    assert EXPLAINED.problem(0, answer) == "another number of attributions"
