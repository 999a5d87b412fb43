"""The onnxruntime backend reads configs as the C++ one does, or refuses them by name."""

from __future__ import annotations

import os
from typing import Any

import pytest

from server.backends.onnxruntime.ort_backend.config import ThreadConfig, read_config
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.session import intra_op_threads

CONFIG: dict[str, Any] = {
    "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}],
    "instance_group": [{"kind": "KIND_CPU", "count": 2}],
}


def parameters(**values: str) -> dict[str, Any]:
    """Writes parameters as Triton hands them over."""
    return {"parameters": {name: {"string_value": text} for name, text in values.items()}}


def test_plain_config_gets_the_defaults() -> None:
    config = read_config(CONFIG)
    assert config.model_filename == "model.onnx"
    assert config.graph_level == "all"
    assert config.threads == ThreadConfig(intra_op=0, inter_op=0, parallel=False)
    assert config.inputs[0].dims == (3,)


def test_thread_parameters_are_read() -> None:
    values = parameters(intra_op_thread_count="3", inter_op_thread_count="2", execution_mode="1")
    threads = read_config({**CONFIG, **values}).threads
    assert threads == ThreadConfig(intra_op=3, inter_op=2, parallel=True)


@pytest.mark.parametrize(("level", "name"), [(-1, "basic"), (1, "extended"), (2, "disabled")])
def test_graph_level_is_numbered_as_in_the_cpp_backend(level: int, name: str) -> None:
    optimization = {"optimization": {"graph": {"level": level}}}
    assert read_config({**CONFIG, **optimization}).graph_level == name


def test_reshape_is_what_the_model_sees() -> None:
    reshaped = {"name": "x", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    assert read_config({**CONFIG, "input": [reshaped]}).inputs[0].dims == ()


def test_instances_share_the_cores_unless_told_otherwise() -> None:
    cores = len(os.sched_getaffinity(0))
    assert intra_op_threads(ThreadConfig(), instances=1) == cores
    assert intra_op_threads(ThreadConfig(), instances=2 * cores) == 1
    assert intra_op_threads(ThreadConfig(intra_op=5), instances=2) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parameters(intra_op_threads="2"), "parameter 'intra_op_threads' is not known"),
        (parameters(intra_op_thread_count="two"), "'intra_op_thread_count' is 'two'"),
        (parameters(execution_mode="2"), "parameter 'execution_mode' is '2'"),
        ({"optimization": {"graph": {"level": 7}}}, "optimization.graph.level is 7"),
        ({"batch_input": [{"kind": "BATCH_ITEM_SHAPE"}]}, "batch_input"),
        ({"sequence_batching": {"state": [{}]}}, "sequence_batching.state"),
        ({"model_transaction_policy": {"decoupled": True}}, "decoupled is true"),
        ({"input": []}, "input: the config declares none"),
        ({"input": [{**CONFIG["input"][0], "optional": True}]}, "input 'x': optional is true"),
        (
            {
                "optimization": {
                    "execution_accelerators": {"gpu_execution_accelerator": [{"name": "tensorrt"}]}
                }
            },
            "gpu_execution_accelerator names 'tensorrt'",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({**CONFIG, **change})
    assert message in str(caught.value)
