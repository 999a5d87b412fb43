"""Models that remember."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.conformance.graph import Model, Tensor, constant, node

IDLE_MICROSECONDS = 300_000

_FLAGS = {
    "INT32": ("int32_false_true", [0, 1]),
    "FP32": ("fp32_false_true", [0, 1]),
    "BOOL": ("bool_false_true", [False, True]),
}


def _controls(start: str, end: str, ready: str, correlation: str) -> list[dict[str, Any]]:
    flags = {"START": start, "END": end, "READY": ready}
    entries: list[dict[str, Any]] = []
    for kind, data_type in flags.items():
        field, values = _FLAGS[data_type]
        entries.append(
            {"name": kind, "control": [{"kind": f"CONTROL_SEQUENCE_{kind}", field: values}]}
        )
    control = {"kind": "CONTROL_SEQUENCE_CORRID", "data_type": f"TYPE_{correlation}"}
    return [*entries, {"name": "CORRID", "control": [control]}]


def _state(name: str, data_type: str, dims: list[int], initial: Mapping[str, Any]) -> Any:
    return {
        "input_name": f"{name}_before",
        "output_name": f"{name}_after",
        "data_type": f"TYPE_{data_type}",
        "dims": dims,
        "initial_state": [{"name": name, "data_type": f"TYPE_{data_type}", "dims": [1], **initial}],
    }


_ZERO = {"zero_data": True}


def _running_total(
    name: str, strategy: Mapping[str, Any], types: tuple[str, str, str, str]
) -> Model:
    kinds = ("START", "END", "READY", "CORRID")
    return Model(
        name,
        [
            node("Add", ["total_before", "x"], ["total_after"]),
            node("Identity", ["total_after"], ["total"]),
            *(node("Identity", [kind], [f"saw_{kind}"]) for kind in kinds),
        ],
        [
            Tensor("x", "FP32", ["rows", 1]),
            Tensor("total_before", "FP32", ["rows", 1]),
            *(Tensor(k, t, ["rows", 1]) for k, t in zip(kinds, types, strict=True)),
        ],
        [
            Tensor("total", "FP32", ["rows", 1]),
            *(Tensor(f"saw_{k}", t, ["rows", 1]) for k, t in zip(kinds, types, strict=True)),
            # Only a state, and so not declared as an output.
            Tensor("total_after", "FP32", ["rows", 1]),
        ],
        {
            "output": [
                {"name": "total", "data_type": "TYPE_FP32", "dims": [1]},
                *(
                    {"name": f"saw_{k}", "data_type": f"TYPE_{t}", "dims": [1]}
                    for k, t in zip(kinds, types, strict=True)
                ),
            ],
            "sequence_batching": {
                **strategy,
                "max_sequence_idle_microseconds": 60_000_000,
                "control_input": _controls(*types),
                "state": [_state("total", "FP32", [1], _ZERO)],
            },
        },
        max_batch_size=4,
    )


RUNNING_TOTALS = {
    "direct": _running_total(
        "running_total_direct", {"direct": {}}, ("INT32", "FP32", "BOOL", "UINT64")
    ),
    "oldest": _running_total(
        "running_total_oldest",
        {"oldest": {"max_candidate_sequences": 8}},
        ("BOOL", "INT32", "FP32", "INT64"),
    ),
    "oldest of 32 bits": _running_total(
        "running_total_32",
        {"oldest": {"max_candidate_sequences": 8}},
        ("FP32", "BOOL", "INT32", "UINT32"),
    ),
}

STATES_FROM_FILES = Model(
    "states_from_files",
    [
        node("Add", ["pair_before", "x"], ["pair_after"]),
        node("Add", ["count_before", "one"], ["count_after"]),
    ],
    [
        Tensor("x", "FP32", [2]),
        Tensor("pair_before", "FP32", [2]),
        Tensor("count_before", "INT64", [1]),
    ],
    [Tensor("pair_after", "FP32", [2]), Tensor("count_after", "INT64", [1])],
    {
        "sequence_batching": {
            "max_sequence_idle_microseconds": 60_000_000,
            "state": [
                _state("pair", "FP32", [2], {"dims": [2], "data_file": "pair.bin"}),
                _state("count", "INT64", [1], _ZERO),
            ],
        }
    },
    max_batch_size=0,
    initializers=[constant("one", [1])],
    files={"initial_state/pair.bin": np.array([5, 7], dtype=np.float32).tobytes()},
)
"""Its states are outputs too."""

GROWING_STATE = Model(
    "growing_state",
    [
        node("Concat", ["seen_before", "x"], ["seen_after"], axis=1),
        node("ReduceSum", ["seen_after", "last"], ["y"], keepdims=1),
    ],
    [Tensor("x", "FP32", ["rows", 1]), Tensor("seen_before", "FP32", ["rows", "n"])],
    [Tensor("y", "FP32", ["rows", 1]), Tensor("seen_after", "FP32", ["rows", "m"])],
    {
        "output": [
            {"name": "y", "data_type": "TYPE_FP32", "dims": [1]},
            {"name": "seen_after", "data_type": "TYPE_FP32", "dims": [-1]},
        ],
        "sequence_batching": {
            "oldest": {"max_candidate_sequences": 4},
            "max_sequence_idle_microseconds": 60_000_000,
            "state": [_state("seen", "FP32", [-1], _ZERO)],
        },
    },
    max_batch_size=4,
    initializers=[constant("last", [1])],
)
"""Its state has another shape after every request."""

TOTAL_OF_LOOKUPS = Model(
    "total_of_lookups",
    [
        node("Gather", ["table", "id"], ["value"]),
        node("Add", ["total_before", "value"], ["total_after"]),
    ],
    [Tensor("id", "INT64", ["rows", 1]), Tensor("total_before", "FP32", ["rows", 1])],
    [Tensor("total_after", "FP32", ["rows", 1])],
    {
        "sequence_batching": {
            "oldest": {
                "max_candidate_sequences": 4,
                "preferred_batch_size": [2],
                "max_queue_delay_microseconds": 60_000_000,
            },
            "max_sequence_idle_microseconds": 60_000_000,
            "state": [_state("total", "FP32", [1], _ZERO)],
        }
    },
    max_batch_size=2,
    initializers=[constant("table", [0, 10, 20, 30], np.float32)],
)
"""Two sequences share each run; an id from 4 on makes it fail."""

ONE_AT_A_TIME = Model(
    "one_at_a_time",
    [node("Add", ["total_before", "x"], ["total_after"])],
    [Tensor("x", "FP32", [1]), Tensor("total_before", "FP32", [1])],
    [Tensor("total_after", "FP32", [1])],
    {
        "sequence_batching": {
            "direct": {},
            "max_sequence_idle_microseconds": IDLE_MICROSECONDS,
            "state": [_state("total", "FP32", [1], _ZERO)],
        }
    },
    max_batch_size=0,
)
"""Has room for one sequence, which ends when it is idle for a moment."""

MODELS = (
    *RUNNING_TOTALS.values(),
    STATES_FROM_FILES,
    GROWING_STATE,
    TOTAL_OF_LOOKUPS,
    ONE_AT_A_TIME,
)
