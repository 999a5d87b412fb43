"""The models of the suite that have neither ragged inputs nor sequences."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from tests.conformance.graph import TYPES, Model, Tensor, constant, node

WAITS_FOR_FOUR = {
    "preferred_batch_size": [4],
    # Far longer than a test may take: a batch starts when it has four rows.
    "max_queue_delay_microseconds": 60_000_000,
}

EVERY_TYPE = Model(
    "every_type",
    [node("Identity", [f"in_{name}"], [f"out_{name}"]) for name in TYPES],
    [Tensor(f"in_{name}", name, ["rows", "columns"]) for name in TYPES],
    [Tensor(f"out_{name}", name, ["rows", "columns"]) for name in TYPES],
    {"dynamic_batching": {}},
)

SUM = Model(
    "sum_of_two",
    [node("Add", ["x", "w"], ["y"])],
    [Tensor("x", "FP32", ["rows", "n"]), Tensor("w", "FP32", ["rows", "n"])],
    [Tensor("y", "FP32", ["rows", "n"])],
    {"dynamic_batching": {}},
)

FIXED_SHAPE = Model(
    "fixed_shape",
    [node("Neg", ["x"], ["y"])],
    [Tensor("x", "INT32", ["rows", 2, 3])],
    [Tensor("y", "INT32", ["rows", 2, 3])],
)

SCALAR = Model(
    "scalar",
    [node("Add", ["x", "x"], ["y"])],
    [Tensor("x", "FP64", [])],
    [Tensor("y", "FP64", [])],
    max_batch_size=0,
)

RESHAPE = Model(
    "reshape",
    [node("Transpose", ["x"], ["y"], perm=[0, 2, 1])],
    [Tensor("x", "INT64", ["rows", 2, 3])],
    [Tensor("y", "INT64", ["rows", 3, 2])],
    {
        "input": [
            {"name": "x", "data_type": "TYPE_INT64", "dims": [6], "reshape": {"shape": [2, 3]}}
        ],
        "output": [
            {"name": "y", "data_type": "TYPE_INT64", "dims": [6], "reshape": {"shape": [3, 2]}}
        ],
    },
)

RESHAPE_TO_NO_DIMENSION = Model(
    "reshape_to_no_dimension",
    [node("Neg", ["x"], ["y"])],
    [Tensor("x", "FP32", ["rows"])],
    [Tensor("y", "FP32", ["rows"])],
    {
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}],
    },
)

NO_BATCH = Model(
    "no_batch",
    [node("Transpose", ["x"], ["y"])],
    [Tensor("x", "FP16", ["a", "b"])],
    [Tensor("y", "FP16", ["b", "a"])],
    max_batch_size=0,
)

OPTIONAL_INPUT = Model(
    "optional_input",
    [node("Add", ["x", "bias"], ["y"])],
    [Tensor("x", "FP32", [2]), Tensor("bias", "FP32", [1])],
    [Tensor("y", "FP32", [2])],
    {
        "input": [
            {"name": "x", "data_type": "TYPE_FP32", "dims": [2]},
            {"name": "bias", "data_type": "TYPE_FP32", "dims": [1], "optional": True},
        ]
    },
    max_batch_size=0,
    initializers=[constant("bias", [10], np.float32)],
)

TWO_OUTPUTS = Model(
    "two_outputs",
    [node("ReduceSum", ["x"], ["total"], keepdims=1), node("Add", ["x", "x"], ["double"])],
    [Tensor("x", "FP32", ["one", "n"])],
    [Tensor("total", "FP32", [1, 1]), Tensor("double", "FP32", ["one", "n"])],
    max_batch_size=0,
)

BATCH_SIZE = Model(
    "batch_size",
    [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"]),
        node("Mul", ["x", "zero"], ["nothing"]),
        node("Add", ["nothing", "rows"], ["y"]),
    ],
    [Tensor("x", "INT64", ["rows", 1])],
    [Tensor("y", "INT64", ["rows", 1])],
    {"dynamic_batching": WAITS_FOR_FOUR},
    initializers=[constant("first", 0), constant("zero", 0)],
)
"""Answers every request with how many rows were computed with it."""

LOOKUP = Model(
    "lookup",
    [node("Gather", ["table", "ids"], ["values"], axis=0)],
    [Tensor("ids", "INT64", ["rows", 1])],
    [Tensor("values", "FP32", ["rows", 1])],
    {"dynamic_batching": WAITS_FOR_FOUR},
    initializers=[constant("table", [0, 10, 20, 30], np.float32)],
)
"""An id from 4 on makes the run of its whole batch fail."""

ABORTS_ON_EMPTY = Model(
    "aborts_on_empty",
    [
        node("Unsqueeze", ["x", "last"], ["steps"]),
        node("LSTM", ["steps", "w", "r"], ["", "state"], hidden_size=1),
        node("ReduceSum", ["state"], ["y"], keepdims=0),
    ],
    [Tensor("x", "FP32", ["one", "n"])],
    [Tensor("y", "FP32", [])],
    max_batch_size=0,
    initializers=[
        constant("last", [2]),
        constant("w", np.ones((1, 4, 1)), np.float32),
        constant("r", np.ones((1, 4, 1)), np.float32),
    ],
)
"""ONNX Runtime ends the process when this gets no elements."""

EXTERNAL_DATA = Model(
    "external_data",
    [node("Add", ["x", "much"], ["y"])],
    [Tensor("x", "FP32", ["rows", 4])],
    [Tensor("y", "FP32", ["rows", 4])],
    {"default_model_filename": "net.onnx"},
    initializers=[constant("much", [1000, 2000, 3000, 4000], np.float32)],
    file="net.onnx",
    external_data=True,
)

VERSIONS = Model(
    "versions",
    [node("Add", ["x", "version"], ["y"])],
    [Tensor("x", "INT64", ["rows", 1])],
    [Tensor("y", "INT64", ["rows", 1])],
    {"version_policy": {"all": {}}},
    versions={"1": [constant("version", 100)], "3": [constant("version", 300)]},
)

WARM = Model(
    "warm",
    [node("Neg", ["x"], ["y"])],
    [Tensor("x", "FP32", ["rows", 2])],
    [Tensor("y", "FP32", ["rows", 2])],
    {
        "model_warmup": [
            {
                "name": "two rows of zeros",
                "batch_size": 2,
                "count": 3,
                "inputs": {"x": {"data_type": "TYPE_FP32", "dims": [2], "zero_data": True}},
            }
        ]
    },
)


def _text(value: str) -> dict[str, str]:
    return {"string_value": value}


PARAMETERS = Model(
    "parameters",
    [node("Neg", ["x"], ["y"])],
    [Tensor("x", "FP32", ["rows", 2])],
    [Tensor("y", "FP32", ["rows", 2])],
    {
        "parameters": {
            "intra_op_thread_count": _text("1"),
            "inter_op_thread_count": _text("1"),
            "execution_mode": _text("1"),
            "enable_mem_arena": _text("0"),
            "enable_mem_pattern": _text("false"),
            "session.use_device_allocator_for_initializers": _text("1"),
        },
        "optimization": {"graph": {"level": 2}},
    },
)

SHRINKS = Model(
    "shrinks",
    [node("Neg", ["x"], ["y"])],
    [Tensor("x", "FP32", ["rows", 2])],
    [Tensor("y", "FP32", ["rows", 2])],
    {"parameters": {"memory.enable_memory_arena_shrinkage": _text("cpu:0")}},
)

_STEP = helper.make_graph(
    [node("Identity", ["go"], ["go_on"]), node("Sin", ["before"], ["after"])],
    "step",
    [
        helper.make_tensor_value_info("step", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        helper.make_tensor_value_info("before", TensorProto.FLOAT, [1]),
    ],
    [
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("after", TensorProto.FLOAT, [1]),
    ],
)

SLOW = Model(
    "slow",
    [node("Loop", ["steps", "", "x"], ["y"], body=_STEP)],
    [Tensor("steps", "INT64", [1]), Tensor("x", "FP32", [1])],
    [Tensor("y", "FP32", [1])],
    max_batch_size=0,
)
"""Takes as long as a request wants it to."""

MODELS = (
    EVERY_TYPE,
    SUM,
    FIXED_SHAPE,
    SCALAR,
    RESHAPE,
    RESHAPE_TO_NO_DIMENSION,
    NO_BATCH,
    OPTIONAL_INPUT,
    TWO_OUTPUTS,
    BATCH_SIZE,
    LOOKUP,
    EXTERNAL_DATA,
    VERSIONS,
    WARM,
    PARAMETERS,
    SHRINKS,
    SLOW,
)
