"""Requests share a run, and what goes wrong with one stays with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.conformance.graph import TYPES
from tests.conformance.ragged_models import KINDS
from tests.conformance.target import Arrays, Request, Target

pytestmark = pytest.mark.e2e


def answers(results: list[Arrays | Exception]) -> list[Arrays]:
    """Takes results that have to be answers."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return [result for result in results if not isinstance(result, Exception)]


@pytest.mark.parametrize("split", [(1, 1, 1, 1), (2, 2), (1, 3), (4,)])
def test_requests_sent_together_share_one_run(target: Target, split: tuple[int, ...]) -> None:
    requests = [Request("batch_size", {"x": np.ones((size, 1), np.int64)}) for size in split]
    seen = [answer["y"].tolist() for answer in answers(target.together(requests))]
    assert seen == [[[4]] * size for size in split]


@pytest.mark.ours("a bad request fails its whole batch")
@pytest.mark.usefixtures("indices_are_checked")
def test_bad_request_fails_alone(target: Target) -> None:
    ids = [[0], [9], [2], [3]]
    requests = [Request("lookup", {"ids": np.array([row])}) for row in ids]
    results = target.together(requests)
    bad = results.pop(1)
    assert isinstance(bad, Exception)
    assert "idx=9 must be within the inclusive range [-4,3]" in str(bad)
    assert [answer["values"].tolist() for answer in answers(results)] == [[[0]], [[20]], [[30]]]


@pytest.mark.ours("a bad request fails its whole batch")
@pytest.mark.usefixtures("indices_are_checked")
def test_bad_ragged_request_fails_alone(target: Target) -> None:
    rows: list[list[float]] = [[0, 1, 2], [3, 9], [], [3, 3, 3, 3]]
    results = target.together([Request("ragged_lookup", {"x": _row(row)}) for row in rows])
    bad = results.pop(1)
    assert isinstance(bad, Exception)
    assert "idx=9" in str(bad)
    values = [answer["y"].tolist() for answer in answers(results)]
    assert values == [[[0, 10, 20]], [[]], [[30] * 4]]


@pytest.mark.ours("any bytes pass through as text, up to a NUL")
def test_text_that_is_not_utf8_is_refused_alone(target: Target) -> None:
    inputs: dict[str, Any] = {f"in_{name}": np.zeros((1, 1), TYPES[name][1]) for name in TYPES}
    inputs["in_STRING"] = np.array([[b"\xff\xfe"]], dtype=np.object_)
    with pytest.raises(Exception, match="'in_STRING' holds text that is not UTF-8"):
        target.infer("every_type", inputs)


@pytest.mark.parametrize("data_type", ["INT32", "FP32"])
def test_every_batch_input_describes_the_batch(target: Target, data_type: str) -> None:
    shapes = [(1, 3, 1), (2, 2, 2), (1, 1, 4)]
    requests = [
        Request(
            f"batch_inputs_{data_type.lower()}",
            {
                "x": np.full(shape, number, dtype=np.float32),
                "row": np.zeros((shape[0], 1), dtype=np.float32),
            },
        )
        for number, shape in enumerate(shapes)
    ]
    results = answers(target.together(requests))
    # The elements tell in which order the server took the requests.
    order = [int(number) for number in dict.fromkeys(results[0]["all_x"][0].tolist())]
    batch = [shapes[number] for number in order]
    assert sorted(order) == [0, 1, 2]
    for result, shape in zip(results, shapes, strict=True):
        for kind in KINDS:
            expected = [expected_batch_input(kind, batch)] * shape[0]
            assert result[f"all_{kind.lower()}"].tolist() == expected, (kind, batch)


def expected_batch_input(kind: str, shapes: Sequence[tuple[int, ...]]) -> list[int]:
    """Says what the proto defines for requests of these shapes, flattened."""
    counts = [int(np.prod(shape)) for shape in shapes]
    ends: list[int] = np.cumsum(counts).tolist()
    items = [size for shape in shapes for _ in range(shape[0]) for size in shape[1:]]
    return {
        "BATCH_ELEMENT_COUNT": counts,
        "BATCH_ACCUMULATED_ELEMENT_COUNT": ends,
        "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": [0, *ends],
        "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": [max(counts)],
        "BATCH_ITEM_SHAPE": items,
        "BATCH_ITEM_SHAPE_FLATTEN": items,
    }[kind]


def test_ragged_requests_get_their_own_rows(target: Target) -> None:
    inputs = [_row([1, 2, 3]), np.array([[4, 5], [6, 7]], np.float32), _row([8])]
    results = target.together([Request("row_totals_of_four", {"x": x}) for x in inputs])
    assert [r["y"].tolist() for r in answers(results)] == [[[6]], [[9], [13]], [[8]]]


def _row(values: list[float]) -> Any:
    return np.array([values], dtype=np.float32)
