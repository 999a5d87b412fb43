"""int8 arithmetic with either scale: close to FP32, whoever shares the batch."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from build import bert, int8
from build.classifier import load
from build.data import checkpoints
from build.int8 import Scale
from build.ragged import pack
from tests.build.conftest import WriteCheckpoint

LONGEST = 40
VOCABULARY = 150
LINEAR_OF_TOKENS = 5  # of two layers: four of the first, keys and values of the last

texts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=LONGEST)
several = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def full(write_checkpoint: WriteCheckpoint) -> onnx.ModelProto:
    """A small packed classifier in FP32."""
    # Weights so large that each layer moves the answers, as those of BERT's usual 0.02 do not.
    folder = write_checkpoint(
        "bad", "good", hidden_size=48, num_attention_heads=6, initializer_range=0.05
    )
    return bert.to_onnx(load(checkpoints.find(str(folder))))


def calibration() -> list[dict[str, NDArray[np.generic]]]:
    """Random texts of every length."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, LONGEST, (4, 64), endpoint=True)
    return [
        pack([random.integers(0, VOCABULARY, length).tolist() for length in batch])
        for batch in lengths
    ]


def open_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


@pytest.fixture(scope="module", params=Scale)
def sessions(
    full: onnx.ModelProto, request: pytest.FixtureRequest
) -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
    """FP32 and int8."""
    return open_session(full), open_session(int8.quantize(full, calibration(), 0, request.param))


def ask(session: onnxruntime.InferenceSession, ids: list[list[int]]) -> NDArray[np.float32]:
    answer: NDArray[np.float32] = session.run(["probabilities"], pack(ids))[0]
    return answer


@several
@given(batch=st.lists(texts, min_size=1, max_size=9))
def test_answers_are_close_to_those_in_fp32(
    sessions: tuple[onnxruntime.InferenceSession, ...], batch: list[list[int]]
) -> None:
    expected, found = (ask(session, batch) for session in sessions)
    np.testing.assert_allclose(found, expected, atol=0.03)


@several
@given(text=texts, before=st.lists(texts, max_size=4), after=st.lists(texts, max_size=4))
def test_an_answer_does_not_depend_on_the_neighbours(
    sessions: tuple[onnxruntime.InferenceSession, ...],
    text: list[int],
    before: list[list[int]],
    after: list[list[int]],
) -> None:
    among = ask(sessions[1], [*before, text, *after])[len(before)]
    # A sum in another order may round one activation to the next step.
    np.testing.assert_allclose(among, ask(sessions[1], [text])[0], atol=1e-3)


def test_no_rows_give_no_answers(sessions: tuple[onnxruntime.InferenceSession, ...]) -> None:
    feed = {name: array[:0] for name, array in pack([[1, 2]]).items()}
    assert sessions[1].run(["probabilities"], feed)[0].shape == (0, 2)


@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize(("full_layers", "integer"), [(0, LINEAR_OF_TOKENS), (1, 1)])
def test_linear_layers_over_tokens_are_integer(
    full: onnx.ModelProto, full_layers: int, integer: int, scale: Scale
) -> None:
    quantized = int8.quantize(full, calibration(), full_layers, scale)
    onnx.checker.check_model(quantized)
    before = Counter(node.op_type for node in full.graph.node)
    after = Counter(node.op_type for node in quantized.graph.node)
    assert after["MatMulIntegerToFloat"] == integer
    assert after["Gemm"] == before["Gemm"] - integer
    floats = sum(len(t.raw_data) for t in quantized.graph.initializer if t.data_type == 1)
    assert floats < sum(len(t.raw_data) for t in full.graph.initializer if t.data_type == 1)
