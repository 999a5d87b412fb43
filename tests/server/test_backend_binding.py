"""Bound tensors give what a plain run gives; here they are bound to the processor."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from server.backends.onnxruntime.ort_backend.binding import (
    BoundRun,
    FixedRun,
    choose_run,
    plain_run,
)
from server.backends.onnxruntime.ort_backend.config import BackendConfig, read_config
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.host_memory import PinnedMemory, Staging, pageable
from server.backends.onnxruntime.ort_backend.optimization import SessionConfig
from server.backends.onnxruntime.ort_backend.session import Device, open_session
from server.backends.onnxruntime.ort_backend.signature import ModelTensors
from tests.server.small_models import (
    ECHO_TEXT,
    LOOKUP,
    MEAN_AND_DOUBLE,
    UNBATCHED,
    SmallModel,
    Tensor,
)

CPU = Device("CPU")
ANY = BackendConfig(inputs=(), outputs=(), max_batch_size=8)


def opened(model: SmallModel, folder: Path) -> Any:
    """Opens a model as the backend does."""
    model.write(folder / "model.onnx")
    return open_session(folder / "model.onnx", ANY, CPU)


def bound(session: Any) -> BoundRun:
    """A bound run on the processor."""
    return BoundRun(session, None, ModelTensors.of(session), CPU, pageable)


@pytest.mark.parametrize("names", [("mean", "double"), ("double",), ("double", "mean")])
def test_bound_outputs_are_those_that_are_asked_for(tmp_path: Path, names: tuple[str, ...]) -> None:
    session = opened(MEAN_AND_DOUBLE, tmp_path)
    feed = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    plain, got = plain_run(session, None)(names, feed), bound(session)(names, feed)
    assert [*got] == [*plain] == [*names]
    for name in names:
        np.testing.assert_array_equal(got[name], plain[name])
        assert got[name].dtype == plain[name].dtype


def test_bound_answers_stay_when_the_next_batch_is_run(tmp_path: Path) -> None:
    run = bound(opened(MEAN_AND_DOUBLE, tmp_path))
    kept = []
    for rows in (1, 5, 3, 4096, 2):  # smaller and larger than the buffer that is kept
        x = np.random.default_rng(rows).random((rows, 7), dtype=np.float32)
        kept.append((x, run(("double",), {"x": x})["double"]))
    for x, double in kept:
        np.testing.assert_array_equal(double, x + x)


def test_bound_texts_come_back(tmp_path: Path) -> None:
    labelled = SmallModel(
        nodes=[
            helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
            helper.make_node("Gather", ["labels", "best"], ["label"]),
        ],
        inputs=[Tensor("x", TensorProto.FLOAT, ("rows", 2))],
        outputs=[Tensor("label", TensorProto.STRING, ("rows", 1))],
        initializers=[
            helper.make_tensor(
                "labels", TensorProto.STRING, [2], [b"nein", b"gr\xc3\xb6\xc3\x9fer"]
            )
        ],
    )
    run = bound(opened(labelled, tmp_path))
    label = run(("label",), {"x": np.array([[1, 0], [0, 1]], np.float32)})["label"]
    assert label.tolist() == [["nein"], ["größer"]]


def test_a_model_that_takes_texts_runs_without_binding(tmp_path: Path) -> None:
    session = opened(ECHO_TEXT, tmp_path)
    config = replace(ANY, session=SessionConfig(binding=True))
    chosen = choose_run(session, config, CPU, ModelTensors.of(session))
    text = np.array([["ein Wort", ""]], dtype=np.object_)
    assert not chosen.bound
    assert chosen.run(("echo",), {"text": text})["echo"].tolist() == text.tolist()


def test_bound_inputs_may_be_empty_or_lie_in_any_order(tmp_path: Path) -> None:
    run = bound(opened(MEAN_AND_DOUBLE, tmp_path))
    assert run(("double",), {"x": np.zeros((0, 3), np.float32)})["double"].shape == (0, 3)
    x = np.arange(6, dtype=np.float32).reshape(3, 2).T
    np.testing.assert_array_equal(run(("double",), {"x": x})["double"], x + x)


def test_an_input_that_may_be_left_out_is_bound_where_it_is_given(tmp_path: Path) -> None:
    # The graph's own value of it, an initializer, serves where a request has none.
    biased = SmallModel(
        nodes=[helper.make_node("Add", ["x", "bias"], ["y"])],
        inputs=[Tensor("x", TensorProto.FLOAT, ("rows",)), Tensor("bias", TensorProto.FLOAT, (1,))],
        outputs=[Tensor("y", TensorProto.FLOAT, ("rows",))],
        initializers=[helper.make_tensor("bias", TensorProto.FLOAT, [1], [10])],
    )
    run = bound(opened(biased, tmp_path))
    x = np.array([1, 2], np.float32)
    for bias in (None, 0.5, None, 3.0):
        given = {} if bias is None else {"bias": np.array([bias], np.float32)}
        expected = x + (10 if bias is None else bias)
        assert run(("y",), {"x": x, **given})["y"].tolist() == expected.tolist()


def test_a_bound_run_that_fails_is_told_and_the_next_one_is_answered(tmp_path: Path) -> None:
    run = bound(opened(LOOKUP, tmp_path))
    with pytest.raises(Exception, match="out of data bounds"):
        run(("values",), {"ids": np.array([[1, 9]])})
    assert run(("values",), {"ids": np.array([[1, 2]])})["values"].tolist() == [[10, 20]]


def test_a_graph_of_fixed_shapes_runs_in_the_same_memory(tmp_path: Path) -> None:
    session = opened(UNBATCHED, tmp_path)
    run = FixedRun(session, None, ModelTensors.of(session), CPU)
    kept = []
    for number in range(3):
        x = np.array([1, 2, 3], np.float32) * number
        kept.append((x, run(("double",), {"x": x})["double"]))
    for x, double in kept:
        np.testing.assert_array_equal(double, x + x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LOOKUP, r"'ids' has a variable one: \[-1, 2\]"),
        (
            SmallModel(
                nodes=[helper.make_node("Identity", ["text"], ["echo"])],
                inputs=[Tensor("text", TensorProto.STRING, (1,))],
                outputs=[Tensor("echo", TensorProto.STRING, (1,))],
                max_batch_size=0,
            ),
            r"'text' is tensor\(string\)",
        ),
    ],
)
def test_a_graph_is_captured_only_where_shapes_are_fixed(
    tmp_path: Path, model: SmallModel, message: str
) -> None:
    session = opened(model, tmp_path)
    with pytest.raises(ConfigError, match=message):
        FixedRun(session, None, ModelTensors.of(session), CPU)


@pytest.mark.parametrize(("said", "is_bound"), [(None, False), ("1", True), ("0", False)])
def test_the_processor_binds_only_where_the_config_says_so(
    tmp_path: Path, said: str | None, is_bound: bool
) -> None:
    config = read_config(
        {
            "max_batch_size": 8,
            "input": [{"name": "ids", "data_type": "TYPE_INT64", "dims": [2]}],
            "output": [{"name": "values", "data_type": "TYPE_FP32", "dims": [2]}],
            "parameters": {} if said is None else {"io_binding": {"string_value": said}},
        }
    )
    session = opened(LOOKUP, tmp_path)
    chosen = choose_run(session, config, CPU, ModelTensors.of(session))
    assert (chosen.bound, chosen.pinned) == (is_bound, False)
    assert chosen.run(("values",), {"ids": np.array([[3, 0]])})["values"].tolist() == [[30, 0]]


class Runtime:
    """What is used of the CUDA runtime, with ordinary memory."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.devices: list[int] = []
        self.buffers: list[Any] = []

    def cudaSetDevice(self, device: Any) -> int:  # noqa: N802 - the library's name
        self.devices.append(device.value)
        return 0

    def cudaHostAlloc(self, address: Any, size: Any, flags: Any) -> int:  # noqa: N802
        assert flags.value == 1
        self.buffers.append(ctypes.create_string_buffer(size.value))
        address._obj.value = ctypes.addressof(self.buffers[-1])
        return self.code


def test_page_locked_memory_is_written_and_grows(tmp_path: Path) -> None:
    runtime = Runtime()
    session = opened(MEAN_AND_DOUBLE, tmp_path)
    memory = PinnedMemory(3, runtime)
    run = BoundRun(session, None, ModelTensors.of(session), CPU, memory)
    for rows in (2, 20_000, 10):
        x = np.random.default_rng(rows).random((rows, 4), dtype=np.float32)
        np.testing.assert_array_equal(run(("double",), {"x": x})["double"], x + x)
    assert set(runtime.devices) == {3}
    assert [len(buffer) for buffer in runtime.buffers] == [1 << 16, 1 << 16, 2 * 20_000 * 4 * 4]


def test_page_locked_memory_that_is_refused_is_told() -> None:
    with pytest.raises(MemoryError, match="cudaHostAlloc of 65536 bytes gave error 2"):
        PinnedMemory(0, Runtime(code=2))


@pytest.mark.parametrize("dtype", ["bool", "float16", "int8", "uint64", "float64"])
def test_staged_arrays_keep_type_and_shape(dtype: str) -> None:
    staging = Staging(pageable)
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    staged = staging.copy("x", array)
    assert (staged.dtype, staged.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(staged, array)
