"""Models whose requests differ in length and still share a batch."""

from __future__ import annotations

from typing import Any

from tests.conformance.graph import TYPES, Model, Tensor, constant, node
from tests.conformance.models import WAITS_FOR_FOUR

KINDS = {
    "BATCH_ELEMENT_COUNT": ["n"],
    "BATCH_ACCUMULATED_ELEMENT_COUNT": ["n"],
    "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO": ["n"],
    "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE": ["n"],
    "BATCH_ITEM_SHAPE": ["n", "rank"],
    "BATCH_ITEM_SHAPE_FLATTEN": ["n"],
}
"""The shape of each kind of batch input."""


def _ragged(dims: list[int]) -> dict[str, Any]:
    return {"name": "x", "data_type": "TYPE_FP32", "dims": dims, "allow_ragged_batch": True}


def _batch_input(kind: str, target: str, data_type: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "target_name": [target],
        "data_type": f"TYPE_{data_type}",
        "source_input": ["x"],
    }


def _shown_to_every_row(source: str, result: str) -> list[Any]:
    # [rows, everything]: each row shows the whole of what was made for the batch.
    return [
        node("Reshape", [source, "one_line"], [f"{result}_line"]),
        node("Expand", [f"{result}_line", "rows_by_one"], [result]),
    ]


def _batch_inputs(data_type: str) -> Model:
    nodes = [node("Shape", ["row"], ["rows_by_one"]), *_shown_to_every_row("x", "all_x")]
    for kind in KINDS:
        source = kind.lower()
        if kind == "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE":
            nodes.append(node("Shape", [source], [f"{source}_raw"]))
        else:
            nodes.append(node("Cast", [source], [f"{source}_raw"], to=TYPES["INT64"][0]))
        nodes += _shown_to_every_row(f"{source}_raw", f"all_{source}")
    return Model(
        f"batch_inputs_{data_type.lower()}",
        nodes,
        [
            Tensor("x", "FP32", ["elements"]),
            Tensor("row", "FP32", ["rows", 1]),
            *(Tensor(kind.lower(), data_type, shape) for kind, shape in KINDS.items()),
        ],
        [
            Tensor("all_x", "FP32", ["rows", "elements"]),
            *(Tensor(f"all_{kind.lower()}", "INT64", ["rows", "n"]) for kind in KINDS),
        ],
        {
            "input": [
                _ragged([-1, -1]),
                {"name": "row", "data_type": "TYPE_FP32", "dims": [1]},
            ],
            "batch_input": [_batch_input(kind, kind.lower(), data_type) for kind in KINDS],
            "dynamic_batching": WAITS_FOR_FOUR,
        },
        initializers=[constant("one_line", [1, -1])],
    )


BATCH_INPUTS = {data_type: _batch_inputs(data_type) for data_type in ("INT32", "FP32")}

_TOTALS = [
    # The total of a row is what is summed up to its end, less what is summed up to its start.
    node("Cast", ["lengths"], ["lengths_64"], to=TYPES["INT64"][0]),
    node("Reshape", ["lengths_64", "flat"], ["sizes"]),
    node("CumSum", ["sizes", "axis"], ["ends"]),
    node("Sub", ["ends", "sizes"], ["starts"]),
    node("CumSum", ["x", "axis"], ["sums"]),
    node("Concat", ["nothing", "sums"], ["sums_from_zero"], axis=0),
    node("Gather", ["sums_from_zero", "ends"], ["upto"]),
    node("Gather", ["sums_from_zero", "starts"], ["before"]),
    node("Sub", ["upto", "before"], ["total"]),
    node("Reshape", ["total", "column"], ["y"]),
]
_TOTALS_INITIALIZERS = [
    constant("flat", [-1]),
    constant("column", [-1, 1]),
    constant("axis", 0),
    constant("nothing", [0], "float32"),
]


def _row_totals(name: str, batching: dict[str, Any]) -> Model:
    return Model(
        name,
        _TOTALS,
        [Tensor("x", "FP32", ["elements"]), Tensor("lengths", "INT32", ["rows", "rank"])],
        [Tensor("y", "FP32", ["rows", 1])],
        {
            "input": [_ragged([-1])],
            "batch_input": [_batch_input("BATCH_ITEM_SHAPE", "lengths", "INT32")],
            "dynamic_batching": batching,
        },
        initializers=_TOTALS_INITIALIZERS,
    )


ROW_TOTALS = _row_totals("row_totals", {})
ROW_TOTALS_OF_FOUR = _row_totals("row_totals_of_four", WAITS_FOR_FOUR)

RAGGED_LOOKUP = Model(
    "ragged_lookup",
    [
        node("Cast", ["x"], ["ids"], to=TYPES["INT64"][0]),
        node("Gather", ["table", "ids"], ["y"]),
    ],
    [Tensor("x", "FP32", ["elements"])],
    [Tensor("y", "INT64", ["elements"])],
    {
        "input": [_ragged([-1])],
        "output": [{"name": "y", "data_type": "TYPE_INT64", "dims": [-1]}],
        "batch_output": [
            {
                "kind": "BATCH_SCATTER_WITH_INPUT_SHAPE",
                "target_name": ["y"],
                "source_input": ["x"],
            }
        ],
        "dynamic_batching": WAITS_FOR_FOUR,
    },
    initializers=[constant("table", [0, 10, 20, 30])],
)
"""Its output is scattered by the shapes of its input; an id from 4 on spoils a batch."""

MODELS = (*BATCH_INPUTS.values(), ROW_TOTALS, ROW_TOTALS_OF_FOUR, RAGGED_LOOKUP)
