"""A config that cannot be served as the C++ backend would serve it is refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.conformance.graph import Model, Tensor, node
from tests.conformance.models import ABORTS_ON_EMPTY, FIXED_SHAPE
from tests.conformance.own_server import explicit_server
from tests.conformance.ragged_models import ROW_TOTALS
from tests.conformance.sequence_models import RUNNING_TOTALS
from tests.conformance.target import Target

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.ours("it refuses other configs, in other words"),
]

X = FIXED_SHAPE.inputs[0].declared(batched=True)
Y = FIXED_SHAPE.outputs[0].declared(batched=True)


def text(value: str) -> dict[str, str]:
    """Writes the value of a parameter."""
    return {"string_value": value}


def changed(name: str, **config: Any) -> Model:
    """Takes a model that loads and changes its config."""
    return replace(FIXED_SHAPE, name=name, config=config)


def accelerated(name: str, field: str, accelerator: str) -> Model:
    """Takes a model that loads and asks for an accelerator."""
    accelerators = {"execution_accelerators": {field: [{"name": accelerator}]}}
    return changed(name, optimization=accelerators)


TOTAL = RUNNING_TOTALS["direct"]
SEQUENCES = TOTAL.config["sequence_batching"]

REFUSED = [
    (changed("unknown_parameter", parameters={"threads": text("2")}), "'threads' is not known"),
    (
        changed("wrong_parameter", parameters={"execution_mode": text("2")}),
        "'execution_mode' is '2': it has to be 0",
    ),
    (changed("input_name", input=[{**X, "name": "z"}]), "input 'z' is not in the model"),
    (
        changed("input_type", input=[{**X, "data_type": "TYPE_FP32"}]),
        "input 'x': data_type is TYPE_FP32, the model has TYPE_INT32",
    ),
    (
        changed("input_shape", input=[{**X, "dims": [2, 4]}]),
        "input 'x': dims are [2, 4], the model has [2, 3] after the batch dimension",
    ),
    (
        changed("output_shape", output=[{**Y, "dims": [6]}]),
        "output 'y': dims are [6], the model has [2, 3]",
    ),
    (
        replace(
            changed("output_without_rows"),
            nodes=[node("ReduceSum", ["x"], ["y"], keepdims=0)],
            outputs=[Tensor("y", "INT32", [])],
        ),
        "output 'y': max_batch_size is above 0, so the first dimension has to be variable",
    ),
    (
        replace(changed("no_batch_dimension", input=[X], output=[Y]), max_batch_size=0),
        "input 'x': dims are [2, 3], the model has [-1, 2, 3]",
    ),
    (changed("no_file", default_model_filename="net.onnx"), "no file"),
    (
        accelerated("openvino", "cpu_execution_accelerator", "openvino"),
        "names 'openvino', but the installed onnxruntime has no OpenVINOExecutionProvider",
    ),
    (
        replace(
            ROW_TOTALS,
            name="batch_input_type",
            config={
                **ROW_TOTALS.config,
                "batch_input": [{**ROW_TOTALS.config["batch_input"][0], "data_type": "TYPE_FP32"}],
            },
        ),
        "batch_input 'lengths': data_type is TYPE_FP32, the model has TYPE_INT32",
    ),
    (
        replace(
            TOTAL,
            name="state_type",
            config={
                **TOTAL.config,
                "sequence_batching": {
                    **SEQUENCES,
                    "state": [{**SEQUENCES["state"][0], "data_type": "TYPE_INT32"}],
                },
            },
        ),
        "data_type is TYPE_INT32, the model has TYPE_FP32",
    ),
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models that cannot be served, and one that can."""
    folder = tmp_path_factory.mktemp("loading")
    for model, _ in REFUSED:
        model.write(folder)
    ABORTS_ON_EMPTY.write(folder)
    changed("broken_file").write(folder)
    (folder / "broken_file" / "1" / "model.onnx").write_bytes(b"not a model")
    return folder


@pytest.fixture(scope="module")
def explicit(repository: Path) -> Iterator[TritonServer]:
    """A server that loads them when it is asked to."""
    with explicit_server(repository) as running:
        yield running


@pytest.fixture(scope="module")
def client(explicit: TritonServer) -> Iterator[Any]:
    """A client of that server."""
    with triton.InferenceServerClient(explicit.grpc_url) as connected:
        yield connected


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[model.name for model, _ in REFUSED])
def test_config_is_refused_with_both_sides(client: Any, model: Model, message: str) -> None:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.load_model(model.name)
    assert message in str(caught.value)


def test_broken_file_is_refused(client: Any) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"cannot open .*model\.onnx"):
        client.load_model("broken_file")


def test_empty_input_on_which_a_graph_aborts_is_refused(
    client: Any, explicit: TritonServer
) -> None:
    client.load_model("aborts_on_empty")
    target = Target("grpc", explicit.grpc_url)
    before = target.infer("aborts_on_empty", {"x": np.ones((1, 2), np.float32)})
    for _ in range(2):
        with pytest.raises(triton.InferenceServerException, match="on which the model crashes"):
            target.infer("aborts_on_empty", {"x": np.zeros((1, 0), np.float32)})
    after = target.infer("aborts_on_empty", {"x": np.ones((1, 2), np.float32)})
    assert before["y"] == after["y"]
    target.close()
