"""Answers are compared with those kept, and judged by the gates of the build."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from build import catalogue
from build.catalogue import Outputs
from loadtests.gpu_check.asking import compare
from loadtests.gpu_check.kept import Kept
from loadtests.gpu_check.steps.answers import problems
from loadtests.load.errors import FailedRequestError
from loadtests.load.expected import Answer, Expected, Explained
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests

BERT = catalogue.read()["sentiment_bert"]
OUTPUTS = Outputs(label="label", probabilities="probabilities")
COUNT = 1000


def answer(positive: float, label: str = "") -> Answer:
    chosen = label or ("positive" if positive > 0.5 else "negative")
    return Answer(chosen.encode(), np.array([1 - positive, positive], np.float32))


def expect(answers: list[Answer], tolerance: float) -> Requests:
    expected = Expected(
        tuple(each.label for each in answers),
        np.stack([each.probabilities for each in answers]),
        tolerance,
    )
    count = len(answers)
    return Requests("sentiment_bert", OUTPUTS, (b"",) * count, (0,) * count, expected)


def sure(index: int) -> Answer:
    return answer(0.9 if index % 2 else 0.1)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """FP32's answers to as many texts, all of them right."""
    made = Kept(tmp_path, {}, {}, {}, {})
    made.add(expect([sure(i) for i in range(COUNT)], 1e-4), "model.onnx")
    made.truth["sentiment_bert"] = [sure(i).label.decode() for i in range(COUNT)]
    assert gzip.decompress(next(tmp_path.glob("*.gz")).read_bytes())
    return made


def judged(came: list[Answer], file: str, kept: Kept, tolerance: float) -> list[str]:
    requests = expect([sure(i) for i in range(COUNT)], tolerance)
    return problems(BERT, file, compare(came, requests.expected), requests, kept)


def test_the_same_answers_pass(kept: Kept) -> None:
    came = [sure(i) for i in range(COUNT)]
    assert judged(came, "model.onnx", kept, 1e-4) == []
    assert judged(came, "model.fp16.onnx", kept, 0.02) == []


def test_fp32_may_differ_by_no_more_than_the_build_allows(kept: Kept) -> None:
    came = [answer(0.1 + 5e-4), *(sure(i) for i in range(1, COUNT))]
    said = judged(came, "model.onnx", kept, 1e-4)
    assert said == [
        "1 × other probabilities",
        "a probability differs by 5.0e-04, allowed is 1e-04",
    ]


def test_fp16_has_to_keep_the_labels_of_fp32_and_its_accuracy(kept: Kept) -> None:
    # Six of a thousand labels differ: 99.4% are kept, and 0.6% of accuracy are lost.
    came = [answer(0.9) if i in range(0, 12, 2) else sure(i) for i in range(COUNT)]
    said = judged(came, "model.fp16.onnx", kept, 1.0)
    assert said == [
        "99.40% of the labels are those of FP32, required are 99.5%",
        "0.60% of accuracy are lost against FP32, allowed is 0.2%",
    ]


def test_nan_is_wrong(kept: Kept) -> None:
    came = [answer(float("nan"), "negative"), *(sure(i) for i in range(1, COUNT))]
    said = judged(came, "model.onnx", kept, 1e-4)
    assert said == [
        "1 × other probabilities",
        "a probability differs by nan, allowed is 1e-04",
    ]


def test_a_request_without_an_answer_is_a_problem(kept: Kept) -> None:
    failed = FailedRequestError(Outcome.FAILED, "CUDA out of memory")
    came: list[Answer | FailedRequestError] = [failed, failed]
    came += [sure(i) for i in range(2, COUNT)]
    requests = expect([sure(i) for i in range(COUNT)], 0.02)
    found = compare(came, requests.expected)
    assert (found.answers, sum(found.failures.values())) == (COUNT - 2, 2)
    said = problems(BERT, "model.onnx", found, requests, kept)
    assert said == ["2 × server failed: CUDA out of memory"]


def test_the_largest_difference_of_an_attribution_is_told() -> None:
    def explained(values: list[float]) -> Answer:
        return Answer(b"a", np.array([1.0], np.float32), Explained(np.array(values, np.float32)))

    expected = Expected(
        (b"a",), np.ones((1, 1), np.float32), 1e-4, (Explained(np.zeros(2, np.float32)),), 0.1
    )
    assert compare([explained([0.05, -0.07])], expected).attributions == pytest.approx(0.07)
