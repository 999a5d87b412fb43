"""The graph of the GRU answers as PyTorch does, for pieces of any lengths in one batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from build import check, export, gru, rnn
from build.data import reviews
from build.errors import BuildError
from build.export import Sample
from build.gru import GruClassifier, GruTraining
from build.gru_graph import MAX_PIECE, to_onnx
from build.ragged import add_state, join
from build.recipe import Gates

VOCABULARY, HIDDEN = 50, 16
TRAINING = GruTraining(
    projected=8, hidden=HIDDEN, dropout=0.4, epochs=1, batch_size=8, learning_rate=3e-3, seed=0
)
Run = Callable[[Sample], list[npt.NDArray[np.float32]]]


@pytest.fixture(scope="module")
def network() -> GruClassifier:
    torch.manual_seed(0)
    return GruClassifier(torch.randn(VOCABULARY, 12), TRAINING).eval()


@pytest.fixture(scope="module")
def path(network: GruClassifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rnn") / "model.onnx"
    export.save(to_onnx(network, reviews.LABELS), path)
    return path


@pytest.fixture(scope="module")
def run(path: Path) -> Run:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(["probabilities", "hidden_after"], feed)


def rows_of_ids(least: int = 1) -> st.SearchStrategy[list[list[int]]]:
    return st.lists(
        st.lists(st.integers(1, VOCABULARY - 1), min_size=least, max_size=12),
        min_size=1,
        max_size=6,
    )


@given(ids=rows_of_ids())
def test_any_rows_and_lengths_give_what_pytorch_gives(
    network: GruClassifier, run: Run, ids: list[list[int]]
) -> None:
    found, _ = run(add_state(join(ids), HIDDEN))
    np.testing.assert_allclose(found, rnn.probabilities(network, ids), atol=1e-5)


@given(ids=rows_of_ids(), tentative=st.data())
def test_tentative_ids_count_for_one_answer_only(
    network: GruClassifier, run: Run, ids: list[list[int]], tentative: st.DataObject
) -> None:
    kept = [tentative.draw(st.integers(0, len(row))) for row in ids]
    feed = add_state(join(ids), HIDDEN)
    found, state = run({**feed, "kept": np.array(kept, np.int32).reshape(-1, 1)})
    np.testing.assert_allclose(found, rnn.probabilities(network, ids), atol=1e-5)
    other = [[*row[:count], 7] for row, count in zip(ids, kept, strict=True)]
    again, _ = run({**join([[7]] * len(ids)), "hidden": state})
    np.testing.assert_allclose(again, rnn.probabilities(network, other), atol=1e-5)


@given(ids=rows_of_ids(), place=st.integers(0, 12))
def test_padding_is_passed_over_wherever_it_stands(
    run: Run, ids: list[list[int]], place: int
) -> None:
    with_padding = [[*row[:place], 0, *row[place:], 0] for row in ids]
    padded, plain = (run(add_state(join(rows), HIDDEN)) for rows in (with_padding, ids))
    for one, other in zip(padded, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_piece_of_nothing_but_padding_leaves_the_state(run: Run) -> None:
    state = np.random.default_rng(0).normal(size=(3, HIDDEN)).astype(np.float32)
    _, after = run({**join([[0], [0, 0], [5]]), "hidden": state})
    np.testing.assert_array_equal(after[:2], state[:2])
    assert (after[2] != state[2]).any()


def test_no_rows_give_no_answers(run: Run) -> None:
    nothing = np.zeros((0, 1), np.int32)
    ids = np.zeros(0, np.int64)
    feed = add_state({"input_ids": ids, "kept": nothing, "row_shapes": nothing}, HIDDEN)
    assert [len(output) for output in run(feed)] == [0, 0]


@pytest.mark.parametrize(
    ("ids", "kept", "message"),
    [
        ([1, 2], 3, "kept must be from 0 to the number of input_ids"),
        ([1, 2], -1, "kept must be from 0 to the number of input_ids"),
        ([1, VOCABULARY], 2, "input_ids must be token ids from 0 to 49"),
        ([-1], 1, "input_ids must be token ids from 0 to 49"),
        ([], 0, "input_ids must have from 1 to 1024 tokens"),
        ([1] * (MAX_PIECE + 1), 1, "input_ids must have from 1 to 1024 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(run: Run, ids: list[int], kept: int, message: str) -> None:
    feed = {**join([ids]), "kept": np.array([[kept]], np.int32)}
    with pytest.raises(Exception, match=message):
        run(add_state(feed, HIDDEN))


def test_the_label_is_that_of_the_likelier_class(path: Path, run: Run) -> None:
    feed = add_state(join([[number] for number in range(1, VOCABULARY)]), HIDDEN)
    found, _ = run(feed)
    expected = [reviews.LABELS[row] for row in found.argmax(-1)]
    assert check.labels(path, [feed]) == expected


def test_texts_in_pieces_are_compared_with_the_whole(network: GruClassifier, path: Path) -> None:
    texts = [[number % 49 + 1 for number in range(length)] for length in range(1, 40)]
    assert rnn.compare_in_pieces(network, path, texts, Gates()) < 1e-5
    other = GruClassifier(network.embeddings, TRAINING).eval()
    with pytest.raises(BuildError, match="in pieces a probability differs from PyTorch"):
        rnn.compare_in_pieces(other, path, texts, Gates())


def test_training_is_the_same_each_time_and_learns() -> None:
    data = [reviews.Review("", rating) for rating in (4.0, -4.0) * 200]
    ids = [[1, 2, 3] if review.rating > 0 else [3, 2, 4] for review in data]
    training = TRAINING.model_copy(update={"hidden": 8, "epochs": 4})
    one, two = (gru.train(torch.eye(VOCABULARY), ids, data, training) for _ in range(2))
    weights, same = one.state_dict(), two.state_dict()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert rnn.probabilities(one, [[1, 2, 3], [3, 2, 4]]).argmax(-1).tolist() == [1, 0]
