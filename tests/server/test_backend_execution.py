"""Requests share one run, and a bad one fails alone."""

from __future__ import annotations

import numpy as np
import pytest

from server.backends.onnxruntime.ort_backend.batch import BatchLayout, split_rows
from server.backends.onnxruntime.ort_backend.errors import (
    BadRequestError,
    breaks_the_gpu,
    explain,
    is_callers_fault,
)
from server.backends.onnxruntime.ort_backend.execution import run_requests
from server.backends.onnxruntime.ort_backend.tensors import Array, Tensors, blank, to_model

BATCHED = BatchLayout(batched=True)
UNBATCHED = BatchLayout(batched=False)


def rows(*values: float) -> Tensors:
    """Makes a request of one column."""
    return {"x": np.array(values, dtype=np.float32)[:, None]}


class Doubler:
    """Doubles what it gets, counts its runs, and fails where a value is negative."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, feed: Tensors) -> Tensors:
        """Computes, or raises RuntimeError for a negative value."""
        self.runs += 1
        if (feed["x"] < 0).any():
            raise RuntimeError("negative")
        return {"y": feed["x"] * 2}


def test_requests_of_a_batch_share_one_run() -> None:
    run = Doubler()
    first, second = run_requests(run, [rows(1, 2), rows(3)], BATCHED)
    assert run.runs == 1
    assert not isinstance(first, Exception)
    assert not isinstance(second, Exception)
    assert first["y"].tolist() == [[2], [4]]
    assert second["y"].tolist() == [[6]]


def test_bad_request_fails_alone() -> None:
    results = run_requests(Doubler(), [rows(1), rows(-1), rows(3)], BATCHED)
    assert [isinstance(result, Exception) for result in results] == [False, True, False]


def test_bad_request_is_found_by_halves() -> None:
    run = Doubler()
    results = run_requests(run, [rows(n if n != 13 else -1) for n in range(32)], BATCHED)
    assert [n for n, r in enumerate(results) if isinstance(r, Exception)] == [13]
    assert run.runs == 1 + 2 * 5


def test_requests_without_batch_dimension_run_one_by_one() -> None:
    run = Doubler()
    run_requests(run, [rows(1), rows(2)], UNBATCHED)
    assert run.runs == 2


def test_requests_of_different_shapes_run_apart_and_keep_their_places() -> None:
    run = Doubler()
    wide = {"x": np.ones((1, 3), dtype=np.float32)}
    results = run_requests(run, [rows(1), wide, rows(2)], BATCHED)
    assert run.runs == 2
    shapes = [r["y"].shape for r in results if not isinstance(r, Exception)]
    assert shapes == [(1, 1), (1, 3), (1, 1)]


def test_empty_requests_run_alone() -> None:
    run = Doubler()
    empty = {"x": np.ones((1, 0), dtype=np.float32)}
    run_requests(run, [empty, rows(1), empty, rows(2)], BATCHED)
    assert run.runs == 3


def test_no_request_runs_nothing() -> None:
    run = Doubler()
    assert run_requests(run, [], BATCHED) == []
    assert run.runs == 0


def test_single_request_is_not_copied() -> None:
    request = rows(1, 2)
    assert BATCHED.join([request])["x"] is request["x"]


def test_outputs_are_views_of_the_batch() -> None:
    batch = rows(1, 2, 3)
    parts = split_rows(batch, [1, 0, 2])
    assert [len(part["x"]) for part in parts] == [1, 0, 2]
    assert np.shares_memory(parts[2]["x"], batch["x"])


@pytest.mark.parametrize("output", [np.float32(1), np.zeros((3, 1)), np.zeros((0, 1))])
def test_output_without_a_row_for_each_row_is_refused(output: Array) -> None:
    with pytest.raises(ValueError, match="for a batch of 2 rows"):
        split_rows({"y": np.asarray(output)}, [1, 1])


def test_text_is_decoded() -> None:
    array = np.array([["ü".encode(), b""]], dtype=np.object_)
    assert to_model("text", array).tolist() == [["ü", ""]]


def test_text_that_is_not_utf8_names_the_input() -> None:
    with pytest.raises(BadRequestError, match="input 'text' holds text that is not UTF-8"):
        to_model("text", np.array([[b"\xff"]], dtype=np.object_))


def test_blank_tensors_say_nothing() -> None:
    assert blank(np.array([[3.5]])).tolist() == [[0]]
    assert blank(np.array(["a"], dtype=np.object_)).tolist() == [""]


def test_complaint_of_onnxruntime_becomes_one_line() -> None:
    error = RuntimeError(
        "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running "
        "Gather node. Name:'embed' Status Message: indices element out of data bounds, idx=9\n"
    )
    assert explain(error) == "indices element out of data bounds, idx=9 (node 'embed', Gather)"


def refusal(name: str) -> Exception:
    """What ONNX Runtime 1.32 says of a Reshape that cannot be."""
    return RuntimeError(
        f"[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape "
        f"node. Name:'{name}' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/"
        "tensor/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::"
        "TensorShape&, onnxruntime::TensorShapeVector&, bool) input_shape_size == "
        "requested_shape_size was false. The input tensor cannot be reshaped to the requested "
        "shape. Input shape:{1,1,28,28}, requested shape:{1,1,28,4294967296}\n"
    )


def test_reason_that_a_graph_refuses_for_is_all_that_is_said() -> None:
    assert explain(refusal("image must be finite")) == "image must be finite"


def test_reason_comes_before_the_node_that_found_it() -> None:
    said = explain(refusal("/bert/Reshape_3"))
    assert said.startswith("input_shape_size == requested_shape_size was false. The input tensor")
    assert said.endswith("(node '/bert/Reshape_3', Reshape)")


def test_long_complaint_is_cut_to_one_short_line() -> None:
    said = explain(
        RuntimeError("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got\n" + "ab\n" * 9999)
    )
    assert said.startswith("Got ab ab")
    assert "\n" not in said
    assert len(said) < 500


def test_lack_of_memory_is_not_the_callers_fault() -> None:
    def of_onnxruntime(message: str) -> Exception:
        kind = type("Fail", (RuntimeError,), {"__module__": "onnxruntime.capi"})
        error: Exception = kind(message)
        return error

    assert is_callers_fault(of_onnxruntime("indices element out of data bounds"))
    assert not is_callers_fault(of_onnxruntime("Failed to allocate memory for requested buffer"))
    assert not is_callers_fault(of_onnxruntime("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED"))
    assert not is_callers_fault(of_onnxruntime("CUDA failure 700: an illegal memory access"))
    assert not is_callers_fault(ValueError("anything else"))
    assert is_callers_fault(BadRequestError("no UTF-8"))


def test_what_breaks_a_gpu_is_told_from_what_a_request_does() -> None:
    said = "[ONNXRuntimeError] : 1 : FAIL : CUDA failure {}: an error ; GPU=0 ; hostname=a ; file=b"
    assert breaks_the_gpu(RuntimeError(said.format("700")))
    assert not breaks_the_gpu(RuntimeError(said.format("2")))  # no memory: a smaller batch may fit
    assert not breaks_the_gpu(RuntimeError("indices element out of data bounds, idx=700"))
