"""Types and shapes pass through the server as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conformance.graph import TYPES
from tests.conformance.target import Target

pytestmark = pytest.mark.e2e


def test_every_type_comes_back_as_it_went(target: Target) -> None:
    sent = {name: _extremes(name) for name in TYPES}
    answers = target.infer("every_type", {f"in_{name}": array for name, array in sent.items()})
    for name, array in sent.items():
        assert answers[f"out_{name}"].dtype == array.dtype, name
        np.testing.assert_array_equal(answers[f"out_{name}"], array, err_msg=name)


def _extremes(name: str) -> Any:
    dtype = np.dtype(TYPES[name][1])
    if dtype == np.object_:
        return np.array([["größer", ""], ["日本", "a\nb"]], dtype=np.object_)
    if dtype == np.bool_:
        return np.array([[True, False], [False, True]])
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    odd = [0, 1] if dtype.kind in "iu" else [np.nan, np.inf]
    return np.array([[limits.min, limits.max], odd], dtype=dtype)


def test_scalar_of_the_model_is_a_tensor_of_one_element(target: Target) -> None:
    answer = target.infer("scalar", {"x": np.array([1.5])})["y"]
    assert answer.shape == (1,)
    assert answer.tolist() == [3.0]


def test_fixed_shape_is_kept(target: Target) -> None:
    x = np.arange(24, dtype=np.int32).reshape(4, 2, 3)
    np.testing.assert_array_equal(target.infer("fixed_shape", {"x": x})["y"], -x)


@pytest.mark.parametrize("shape", [(1, 2, 4), (1, 3, 2), (9, 2, 3)])
def test_another_shape_is_refused(target: Target, shape: tuple[int, ...]) -> None:
    with pytest.raises(Exception, match=r"unexpected shape|batch-size must be <= 8"):
        target.infer("fixed_shape", {"x": np.zeros(shape, np.int32)})


def test_model_sees_the_reshaped_tensor(target: Target) -> None:
    x = np.arange(12).reshape(2, 6)
    expected = x.reshape(2, 2, 3).transpose(0, 2, 1).reshape(2, 6)
    np.testing.assert_array_equal(target.infer("reshape", {"x": x})["y"], expected)


def test_reshape_to_no_dimension_leaves_the_batch_dimension(target: Target) -> None:
    x = np.array([[1], [2], [3]], dtype=np.float32)
    np.testing.assert_array_equal(target.infer("reshape_to_no_dimension", {"x": x})["y"], -x)


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), (0, 3), (3, 0), (0, 0)])
def test_model_without_batch_takes_any_shape(target: Target, shape: tuple[int, int]) -> None:
    x = np.arange(shape[0] * shape[1], dtype=np.float16).reshape(shape)
    np.testing.assert_array_equal(target.infer("no_batch", {"x": x})["y"], x.T)


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_without_columns_are_computed(target: Target, rows: int) -> None:
    nothing = np.zeros((rows, 0), dtype=np.float32)
    assert target.infer("sum_of_two", {"x": nothing, "w": nothing})["y"].shape == (rows, 0)


def test_optional_input_may_be_left_out(target: Target) -> None:
    x = np.array([1, 2], dtype=np.float32)
    assert target.infer("optional_input", {"x": x})["y"].tolist() == [11, 12]
    given = {"x": x, "bias": np.array([0.5], dtype=np.float32)}
    assert target.infer("optional_input", given)["y"].tolist() == [1.5, 2.5]


def test_only_the_outputs_asked_for_are_returned(target: Target) -> None:
    inputs = {"x": np.array([[1, 2, 6]], dtype=np.float32)}
    assert list(target.infer("two_outputs", inputs, outputs=["total"])) == ["total"]
    assert target.infer("two_outputs", inputs, outputs=["double"])["double"].tolist() == [
        [2, 4, 12]
    ]
    assert sorted(target.infer("two_outputs", inputs)) == ["double", "total"]
