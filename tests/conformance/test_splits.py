"""However rows are split into requests, the answers are those of one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conformance.graph import TYPES
from tests.conformance.target import Request, Target

pytestmark = pytest.mark.e2e

Array = npt.NDArray[Any]
relaxed = settings(
    max_examples=20,
    deadline=None,
    # The server is the same for every example, and is meant to be.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
cuts = st.lists(st.integers(1, 3), min_size=1, max_size=6)
"""The rows of each request."""
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
"""ONNX Runtime's C++ interface, and so Triton's own backend, ends text at a NUL."""


def arrays(name: str, shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Draws a tensor of one of Triton's types."""
    dtype = np.dtype(TYPES[name][1])
    elements = text if dtype == np.object_ else None
    return hnp.arrays(dtype, shape, elements=elements)


def send_split(target: Target, model: str, inputs: dict[str, Array], rows: list[int]) -> Any:
    """Sends rows as several requests at once and puts the answers together again."""
    ends = np.cumsum(rows)[:-1]
    parts = {name: np.split(array, ends) for name, array in inputs.items()}
    requests = [
        Request(model, {name: part[number] for name, part in parts.items()})
        for number in range(len(rows))
    ]
    results = target.together(requests)
    for result in results:
        if isinstance(result, Exception):
            raise result
    answers: list[Any] = results
    return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}


@relaxed
@given(data=st.data(), rows=cuts, columns=st.integers(0, 3))
def test_any_split_of_dense_rows(
    target: Target, data: st.DataObject, rows: list[int], columns: int
) -> None:
    shape = (sum(rows), columns)
    x = data.draw(arrays("FP32", shape))
    w = data.draw(arrays("FP32", shape))
    with np.errstate(all="ignore"):
        expected = x + w
    np.testing.assert_array_equal(
        send_split(target, "sum_of_two", {"x": x, "w": w}, rows)["y"], expected
    )


@relaxed
@given(data=st.data(), rows=cuts, columns=st.integers(0, 3))
def test_any_split_of_every_type(
    target: Target, data: st.DataObject, rows: list[int], columns: int
) -> None:
    shape = (sum(rows), columns)
    inputs = {f"in_{name}": data.draw(arrays(name, shape)) for name in TYPES}
    outputs = send_split(target, "every_type", inputs, rows)
    for name in TYPES:
        np.testing.assert_array_equal(outputs[f"out_{name}"], inputs[f"in_{name}"], err_msg=name)


@relaxed
@given(
    requests=st.lists(
        hnp.arrays(
            np.float32,
            st.tuples(st.integers(1, 3), st.integers(0, 4)),
            # Whole numbers, whose sums are the same in any order.
            elements=st.integers(-100, 100),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_mixture_of_ragged_requests(target: Target, requests: list[Array]) -> None:
    results = target.together([Request("row_totals", {"x": x}) for x in requests])
    for x, result in zip(requests, results, strict=True):
        assert not isinstance(result, Exception), result
        np.testing.assert_array_equal(result["y"], x.sum(axis=1, keepdims=True))


@relaxed
@given(x=hnp.arrays(np.float16, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=4)))
def test_any_shape_without_batch(target: Target, x: Array) -> None:
    np.testing.assert_array_equal(target.infer("no_batch", {"x": x})["y"], x.T)
