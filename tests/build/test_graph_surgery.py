"""The label and the refusals that are added to an exported graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from build import graph_surgery

ABOVE_256 = np.nextafter(np.float32(256), np.float32(np.inf))


def copy_of(tensor: str, kind: int, shape: list[Any]) -> onnx.ModelProto:
    """A model whose output `probabilities` is its input."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [tensor], ["probabilities"])],
            "copy",
            [helper.make_tensor_value_info(tensor, kind, shape)],
            [helper.make_tensor_value_info("probabilities", kind, shape)],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[Any]:  # type: ignore[type-arg]
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    result: list[Any] = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run(None, inputs)
    return result


def test_the_label_is_that_of_the_likeliest_class() -> None:
    model = copy_of("x", TensorProto.FLOAT, ["batch", 3])
    graph_surgery.add_label_output(model, ["a", "b", "c"])
    x = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]], np.float32)
    assert run(model, x=x)[1].tolist() == [["c"], ["a"]]


def test_an_empty_batch_has_no_labels() -> None:
    model = copy_of("x", TensorProto.FLOAT, ["batch", 3])
    graph_surgery.add_label_output(model, ["a", "b", "c"])
    assert run(model, x=np.zeros((0, 3), np.float32))[1].shape == (0, 1)


def up_to_256(model: onnx.ModelProto) -> None:
    graph_surgery.refuse_beyond(model, "x", 256)


def in_vocabulary(model: onnx.ModelProto) -> None:
    graph_surgery.refuse_outside(model, "x", 0, 99, "x must be token ids from 0 to 99")


@pytest.mark.parametrize(
    ("refusal", "kind", "good"),
    [
        (up_to_256, TensorProto.FLOAT, np.array([[0.5, -1e-45, 256], [-256, 0, -0.0]], np.float32)),
        (in_vocabulary, TensorProto.INT64, np.array([[0, 99], [5, 5]], np.int64)),
        (in_vocabulary, TensorProto.INT64, np.zeros((3, 0), np.int64)),
    ],
)
def test_good_input_passes_unchanged(
    refusal: Callable[[onnx.ModelProto], None],
    kind: int,
    good: np.ndarray,  # type: ignore[type-arg]
) -> None:
    model = copy_of("x", kind, ["batch", "n"])
    refusal(model)
    np.testing.assert_array_equal(run(model, x=good)[0], good)


@pytest.mark.parametrize(
    ("refusal", "kind", "bad", "message"),
    [
        *[
            (
                up_to_256,
                TensorProto.FLOAT,
                np.array([[value, 0]], np.float32),
                "x must be finite and from -256 to 256",
            )
            for value in (np.nan, np.inf, -np.inf, 1e38, -3.4e38, ABOVE_256, -ABOVE_256)
        ],
        (
            in_vocabulary,
            TensorProto.INT64,
            np.array([[0, 100]]),
            "x must be token ids from 0 to 99",
        ),
        (in_vocabulary, TensorProto.INT64, np.array([[-1, 0]]), "x must be token ids from 0 to 99"),
    ],
)
def test_bad_input_is_an_error_that_says_so(
    refusal: Callable[[onnx.ModelProto], None],
    kind: int,
    bad: np.ndarray,  # type: ignore[type-arg]
    message: str,
) -> None:
    model = copy_of("x", kind, ["batch", "n"])
    refusal(model)
    with pytest.raises(Exception, match=message):
        run(model, x=bad)


def test_two_refusals_on_one_input_both_work() -> None:
    model = copy_of("x", TensorProto.INT64, ["batch", "n"])
    model.graph.input.append(helper.make_tensor_value_info("y", TensorProto.INT64, ["batch", "n"]))
    in_vocabulary(model)
    graph_surgery.refuse_different(model, "x", "y", "x and y must be equal")
    good, other, outside = np.array([[1, 2]]), np.array([[1, 3]]), np.array([[100, 1]])
    np.testing.assert_array_equal(run(model, x=good, y=good)[0], good)
    with pytest.raises(Exception, match="token ids from 0"):
        run(model, x=outside, y=outside)
    with pytest.raises(Exception, match="x and y must be equal"):
        run(model, x=good, y=other)
