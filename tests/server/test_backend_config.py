"""The onnxruntime backend reads configs as the C++ one does, or refuses them by name."""

from __future__ import annotations

import os
from typing import Any

import pytest

from server.backends.onnxruntime.ort_backend.accelerators import (
    CPU,
    CUDA,
    OPENVINO,
    TENSORRT,
    captures_cuda_graph,
    providers,
)
from server.backends.onnxruntime.ort_backend.config import read_config
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.optimization import ThreadConfig
from server.backends.onnxruntime.ort_backend.session import (
    Device,
    intra_op_threads,
    run_options,
    session_options,
)

CONFIG: dict[str, Any] = {
    "max_batch_size": 8,
    "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["3"]}],
    "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [-1]}],
    "instance_group": [{"kind": "KIND_CPU", "count": 2}],
}
X = CONFIG["input"][0]


def parameters(**values: str) -> dict[str, Any]:
    """Writes parameters as Triton hands them over; a double underscore stands for a dot."""
    named = {name.replace("__", "."): text for name, text in values.items()}
    return {"parameters": {name: {"string_value": text} for name, text in named.items()}}


def accelerated(kind: str, name: str, **options: str) -> dict[str, Any]:
    """Writes an execution accelerator."""
    entry = {"name": name, "parameters": options}
    return {"optimization": {"execution_accelerators": {f"{kind}_execution_accelerator": [entry]}}}


def sequences(**fields: Any) -> dict[str, Any]:
    """Writes sequence batching."""
    return {"sequence_batching": fields}


def test_plain_config_gets_the_defaults() -> None:
    config = read_config(CONFIG)
    assert config.model_filename == "model.onnx"
    assert config.session.graph_level == "all"
    assert config.session.threads == ThreadConfig(intra_op=0, inter_op=0, parallel=False)
    assert config.inputs[0].dims == (3,)
    assert config.sequences is None


def test_thread_parameters_are_read() -> None:
    values = parameters(intra_op_thread_count="3", inter_op_thread_count="2", execution_mode="1")
    threads = read_config({**CONFIG, **values}).session.threads
    assert threads == ThreadConfig(intra_op=3, inter_op=2, parallel=True)


def test_parameters_reach_onnxruntime() -> None:
    values = parameters(
        intra_op_thread_count="3",
        enable_mem_arena="False",
        enable_mem_pattern="0",
        session__set_denormal_as_zero="1",
    )
    options = session_options(read_config({**CONFIG, **values}))
    assert options.intra_op_num_threads == 3
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern
    assert options.get_session_config_entry("session.set_denormal_as_zero") == "1"


def test_memory_is_left_to_onnxruntime_unless_told_otherwise() -> None:
    options = session_options(read_config(CONFIG))
    assert options.enable_cpu_mem_arena
    assert options.enable_mem_pattern
    assert run_options(read_config(CONFIG).session) is None


def test_arena_shrinkage_is_an_option_of_each_run() -> None:
    values = parameters(memory__enable_memory_arena_shrinkage="cpu:0")
    options = run_options(read_config({**CONFIG, **values}).session)
    assert options is not None
    assert options.get_run_config_entry("memory.enable_memory_arena_shrinkage") == "cpu:0"


@pytest.mark.parametrize(("level", "name"), [(-1, "basic"), (1, "extended"), (2, "disabled")])
def test_graph_level_is_numbered_as_in_the_cpp_backend(level: int, name: str) -> None:
    optimization = {"optimization": {"graph": {"level": level}}}
    assert read_config({**CONFIG, **optimization}).session.graph_level == name


def test_reshape_is_what_the_model_sees() -> None:
    reshaped = {"name": "x", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    assert read_config({**CONFIG, "input": [reshaped]}).inputs[0].dims == ()


def test_instances_share_the_cores_unless_told_otherwise() -> None:
    cores = len(os.sched_getaffinity(0))
    assert intra_op_threads(ThreadConfig(), instances=1) == cores
    assert intra_op_threads(ThreadConfig(), instances=2 * cores) == 1
    assert intra_op_threads(ThreadConfig(intra_op=5), instances=2) == 5


@pytest.mark.parametrize(
    ("batching", "slots"),
    [({"direct": {}}, 8), ({}, 8), ({"oldest": {"max_candidate_sequences": 3}}, 3)],
)
def test_strategy_says_how_many_sequences_there_are(batching: dict[str, Any], slots: int) -> None:
    read = read_config({**CONFIG, **sequences(**batching)}).sequences
    assert read is not None
    assert read.slots == slots


ALL = (TENSORRT, CUDA, OPENVINO, CPU)


def chosen(kind: str, config: dict[str, Any]) -> list[Any]:
    """Reads which providers an instance on device 1 gets."""
    session = read_config({**CONFIG, **config}).session
    accelerators = session.cpu_accelerators
    if kind == "GPU":
        accelerators = (*session.gpu_accelerators, *accelerators)
    return providers(kind, 1, accelerators, session.cuda_options, ALL)


def test_gpu_instance_computes_on_its_own_device() -> None:
    assert chosen("GPU", {}) == [(CUDA, {"device_id": "1"}), (CPU, {})]
    assert chosen("CPU", {}) == [(CPU, {})]


def test_options_of_cuda_come_from_both_places() -> None:
    config = {
        **accelerated("gpu", "cuda", cudnn_conv_use_max_workspace="0"),
        **parameters(cudnn_conv_algo_search="1", gpu_mem_limit="1000"),
    }
    options = {
        "cudnn_conv_use_max_workspace": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "gpu_mem_limit": "1000",
        "device_id": "1",
    }
    assert chosen("GPU", config) == [(CUDA, options), (CPU, {})]


def test_a_cuda_graph_is_asked_for_by_the_providers_own_option() -> None:
    for value, captured in (("1", True), ("true", True), ("False", False), ("0", False)):
        config = {**CONFIG, **accelerated("gpu", "cuda", enable_cuda_graph=value)}
        assert captures_cuda_graph(read_config(config).session.gpu_accelerators) == captured
    assert not captures_cuda_graph(read_config(CONFIG).session.gpu_accelerators)


def test_a_gpu_instance_takes_one_core_unless_told_otherwise() -> None:
    gpu = Device("GPU", 1)
    assert session_options(read_config(CONFIG), gpu).intra_op_num_threads == 1
    told = read_config({**CONFIG, **parameters(intra_op_thread_count="3")})
    assert session_options(told, gpu).intra_op_num_threads == 3


def test_tensorrt_comes_before_cuda_with_its_options_renamed() -> None:
    config = accelerated(
        "gpu", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="7", trt_dla_core="0"
    )
    options = {
        "trt_fp16_enable": "1",
        "trt_max_workspace_size": "7",
        "trt_dla_core": "0",
        "device_id": "1",
    }
    assert chosen("GPU", config) == [
        (TENSORRT, options),
        (CUDA, {"device_id": "1"}),
        (CPU, {}),
    ]


def test_openvino_computes_on_the_processor() -> None:
    config = accelerated("cpu", "openvino")
    assert chosen("CPU", config) == [(OPENVINO, {"device_type": "CPU"}), (CPU, {})]


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("CPU", accelerated("cpu", "openvino"), "names 'openvino', but the installed onnxruntime"),
        ("GPU", accelerated("gpu", "tensorrt"), "names 'tensorrt', but the installed onnxruntime"),
        ("GPU", {}, "instance_group asks for GPU 0"),
    ],
)
def test_what_onnxruntime_lacks_is_refused(kind: str, config: dict[str, Any], message: str) -> None:
    session = read_config({**CONFIG, **config}).session
    accelerators = (*session.gpu_accelerators, *session.cpu_accelerators)
    with pytest.raises(ConfigError, match=message):
        providers(kind, 0, accelerators, {}, (CPU,))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (parameters(intra_op_threads="2"), "parameter 'intra_op_threads' is not known"),
        (parameters(session__no_such_key="1"), "parameter 'session.no_such_key' is not known"),
        (parameters(intra_op_thread_count="two"), "'intra_op_thread_count' is 'two'"),
        (parameters(execution_mode="2"), "parameter 'execution_mode' is '2'"),
        (parameters(io_binding="auto"), "parameter 'io_binding' is 'auto'"),
        (accelerated("gpu", "cuda", enable_cuda_graph="yes"), "'enable_cuda_graph' is 'yes'"),
        (
            accelerated("gpu", "cuda", do_copy_in_default_stream="2"),
            "cuda: parameter 'do_copy_in_default_stream' is '2': it has to be 0, 1, false or true",
        ),
        (accelerated("gpu", "cuda", user_compute_stream="140"), "'user_compute_stream' is an addr"),
        (parameters(enable_mem_arena="yes"), "parameter 'enable_mem_arena' is 'yes'"),
        (parameters(cudnn_conv_algo_search="3"), "0 (EXHAUSTIVE), 1 (HEURISTIC)"),
        (parameters(share_session_between_instances="true"), "cannot share a session"),
        ({"optimization": {"graph": {"level": 7}}}, "optimization.graph.level is 7"),
        (accelerated("gpu", "openvino"), "gpu_execution_accelerator names 'openvino'"),
        (accelerated("cpu", "cuda"), "cpu_execution_accelerator names 'cuda'"),
        (accelerated("cpu", "openvino", a="1"), "takes no parameters, with a"),
        (accelerated("gpu", "tensorrt", precision_mode="FP8"), "precision_mode is 'FP8'"),
        (accelerated("gpu", "tensorrt", workspace="1"), "parameter 'workspace' is not known"),
        ({"model_transaction_policy": {"decoupled": True}}, "decoupled is true"),
        ({"cc_model_filenames": {"8.0": "a.onnx"}}, "cc_model_filenames"),
        ({"input": []}, "input: the config declares none"),
        ({"input": [{**X, "optional": True}]}, "input 'x': optional is true"),
        ({"input": [{**X, "is_shape_tensor": True}]}, "is_shape_tensor is true"),
        (sequences(iterative_sequence=True), "iterative_sequence is true"),
        (
            sequences(
                control_input=[
                    {
                        "name": "ID",
                        "control": [
                            {"kind": "CONTROL_SEQUENCE_CORRID", "data_type": "TYPE_STRING"}
                        ],
                    }
                ]
            ),
            "'ID': CONTROL_SEQUENCE_CORRID is TYPE_STRING",
        ),
        (
            sequences(
                state=[
                    {
                        "input_name": "a",
                        "output_name": "b",
                        "data_type": "TYPE_FP32",
                        "use_growable_memory": True,
                    }
                ]
            ),
            "state 'a': use_growable_memory is true",
        ),
        (
            {
                "batch_input": [
                    {
                        "kind": "BATCH_ITEM_SHAPE",
                        "target_name": ["s"],
                        "data_type": "TYPE_INT64",
                        "source_input": ["x"],
                    }
                ]
            },
            "batch_input s: data_type is TYPE_INT64",
        ),
        (
            {
                "batch_input": [
                    {
                        "kind": "BATCH_ITEM_SHAPE",
                        "target_name": ["s"],
                        "data_type": "TYPE_INT32",
                        "source_input": ["z"],
                    }
                ]
            },
            "batch_input: source_input is 'z'",
        ),
        (
            {"batch_output": [{"target_name": ["z"], "source_input": ["x"]}]},
            "batch_output: target_name is 'z'",
        ),
        (
            {"batch_output": [{"target_name": ["y"], "source_input": ["x", "x"]}]},
            "source_input is ['x', 'x']: it has to be one name",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({**CONFIG, **change})
    assert message in str(caught.value)
