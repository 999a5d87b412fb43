"""Packed texts get the answers that Hugging Face's own model gives them one by one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from build import bert
from build.classifier import Classifier, load
from build.data import checkpoints
from tests.build.conftest import WriteCheckpoint

LONGEST = 40
VOCABULARY = 150
# Weights so large that attention moves the answers; with BERT's usual 0.02 it could be left out.
MATTERS = 0.3


@dataclass(frozen=True)
class Row:
    """One text as a client sends it: ids, and a mask that may have zeros anywhere."""

    ids: list[int]
    mask: list[int]


@dataclass(frozen=True)
class Exported:
    """A classifier and the session of its packed export."""

    classifier: Classifier
    session: onnxruntime.InferenceSession

    def packed(self, rows: list[Row]) -> NDArray[np.float32]:
        """Probabilities of all rows in one run, FP32 [n, 2]."""
        shapes = np.array([[len(row.ids)] for row in rows], np.int32).reshape(-1, 1)
        answer: NDArray[np.float32] = self.session.run(
            ["probabilities"],
            {
                "input_ids": np.array([i for row in rows for i in row.ids], np.int64),
                "attention_mask": np.array([m for row in rows for m in row.mask], np.int64),
                "row_shapes": shapes,
                "mask_shapes": shapes,
            },
        )[0]
        return answer

    def one_by_one(self, rows: list[Row]) -> NDArray[np.float32]:
        """Probabilities of each row by Hugging Face's model alone, FP32 [n, 2]."""
        with torch.inference_mode():
            logits = [
                self.classifier.network(
                    input_ids=torch.tensor([row.ids]), attention_mask=torch.tensor([row.mask])
                ).logits
                for row in rows
            ]
        answer: NDArray[np.float32] = torch.cat(logits).softmax(-1).numpy()
        return answer


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """A row of 1 to the most tokens with at least one of them unmasked."""
    length = draw(st.integers(1, LONGEST))
    ids = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=length, max_size=length))
    kind = draw(st.sampled_from(["whole", "padded right", "padded left", "holes"]))
    kept = draw(st.integers(1, length))
    mask = {
        "whole": [1] * length,
        "padded right": [1] * kept + [0] * (length - kept),
        "padded left": [0] * (length - kept) + [1] * kept,
        "holes": [int(place % kept == 0) for place in range(length)],
    }[kind]
    return Row(ids, mask)


@pytest.fixture(scope="module", params=[(1, 16), (4, 32), (6, 48)], ids=lambda p: f"{p[0]} heads")
def exported(request: pytest.FixtureRequest, write_checkpoint: WriteCheckpoint) -> Exported:
    """Small networks of several numbers of heads."""
    heads, hidden = request.param
    folder = write_checkpoint(
        "bad",
        "good",
        num_attention_heads=heads,
        hidden_size=hidden,
        initializer_range=MATTERS,
    )
    classifier = load(checkpoints.find(str(folder)))
    model = bert.to_onnx(classifier)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return Exported(classifier, session)


several = settings(max_examples=30, deadline=None)


@several
@given(batch=st.lists(rows(), min_size=1, max_size=9))
def test_packed_answers_are_those_of_each_text_alone(exported: Exported, batch: list[Row]) -> None:
    expected = exported.one_by_one(batch)
    found = exported.packed(batch)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    sure = np.abs(expected[:, 0] - expected[:, 1]) > 2e-4
    assert (found.argmax(-1) == expected.argmax(-1))[sure].all()


@several
@given(row=rows(), before=st.lists(rows(), max_size=4), after=st.lists(rows(), max_size=4))
def test_an_answer_does_not_depend_on_the_neighbours(
    exported: Exported, row: Row, before: list[Row], after: list[Row]
) -> None:
    among = exported.packed([*before, row, *after])[len(before)]
    np.testing.assert_allclose(among, exported.packed([row])[0], atol=1e-5)


def test_no_rows_give_no_answers(exported: Exported) -> None:
    assert exported.packed([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [Row([], []), Row([1], [1])], "input_ids must have from 1 to 40 tokens"),
        (lambda: [Row([1], [1]), Row([], [])], "input_ids must have from 1 to 40 tokens"),
        (lambda: [Row([1] * 41, [1] * 41)], "input_ids must have from 1 to 40 tokens"),
        (lambda: [Row([VOCABULARY * 2], [1])], "input_ids must be token ids from 0 to"),
        (lambda: [Row([-1], [1])], "input_ids must be token ids from 0 to"),
    ],
)
def test_rows_that_cannot_be_answered_are_refused(
    exported: Exported, make: Callable[[], list[Row]], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        exported.packed(make())


def test_a_mask_of_another_length_is_refused(exported: Exported) -> None:
    # The totals agree, so nothing else would notice that the rows are shifted.
    feed: dict[str, Any] = {
        "input_ids": np.ones(6, np.int64),
        "attention_mask": np.ones(6, np.int64),
        "row_shapes": np.array([[2], [4]], np.int32),
        "mask_shapes": np.array([[4], [2]], np.int32),
    }
    with pytest.raises(Exception, match="attention_mask must have the shape of input_ids"):
        exported.session.run(None, feed)
