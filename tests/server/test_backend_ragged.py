"""Batch inputs say of requests what Triton's proto defines; batch outputs are cut by shapes."""

from __future__ import annotations

import numpy as np
import pytest

from server.backends.onnxruntime.ort_backend.batch import BatchLayout
from server.backends.onnxruntime.ort_backend.ragged import BatchInput, BatchOutput

# The example of the proto: a request of two rows of [3, 1] and one of one row of [2, 2].
SHAPES = [(2, 3, 1), (1, 2, 2)]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("BATCH_ELEMENT_COUNT", [6, 4]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT", [6, 10]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", [0, 6, 10]),
        ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", [0] * 6),
        ("BATCH_ITEM_SHAPE", [[3, 1], [3, 1], [2, 2]]),
        ("BATCH_ITEM_SHAPE_FLATTEN", [3, 1, 3, 1, 2, 2]),
    ],
)
@pytest.mark.parametrize(("data_type", "dtype"), [("TYPE_INT32", "<i4"), ("TYPE_FP32", "<f4")])
def test_batch_input(kind: str, expected: list[int], data_type: str, dtype: str) -> None:
    made = BatchInput(kind, ("target",), data_type, "x").make(SHAPES)
    assert made.dtype == np.dtype(dtype)
    assert made.tolist() == expected


def test_ragged_inputs_are_one_flat_row() -> None:
    entry = BatchInput("BATCH_ELEMENT_COUNT", ("counts", "again"), "TYPE_INT32", "x")
    layout = BatchLayout(batched=True, ragged=frozenset({"x"}), batch_inputs=(entry,))
    long, short = np.arange(3.0)[None], np.arange(2.0)[None]
    joined = layout.join([{"x": long, "w": long[:, :1]}, {"x": short, "w": short[:, :1]}])
    assert joined["x"].tolist() == [0, 1, 2, 0, 1]
    assert joined["w"].shape == (2, 1)
    assert joined["counts"].tolist() == joined["again"].tolist() == [3, 2]


def test_single_ragged_request_is_flat_too() -> None:
    layout = BatchLayout(batched=True, ragged=frozenset({"x"}))
    assert layout.join([{"x": np.ones((2, 2))}])["x"].shape == (4,)


def test_output_is_scattered_by_the_shapes_of_an_input() -> None:
    entry = BatchOutput("y", "x", (-1, 2))
    parts = entry.scatter(np.arange(16), [(1, 3, 9), (2, 1, 9)], batched=True)
    assert parts[0].tolist() == [[[0, 1], [2, 3], [4, 5]]]
    assert parts[1].tolist() == [[[6, 7]], [[8, 9]]]


def test_output_too_short_to_scatter_is_refused() -> None:
    with pytest.raises(ValueError, match="output 'y' 2 elements for requests that need 3"):
        BatchOutput("y", "x", (-1,)).scatter(np.arange(2), [(1, 3)], batched=True)
