"""No config is shipped that NVIDIA's C++ backend would serve wrongly without a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from build import model_config
from tests.conformance.graph import Model, Tensor, constant, node
from tests.conformance.models import FIXED_SHAPE, LOOKUP, NO_BATCH, SUM
from tests.conformance.ragged_models import RAGGED_LOOKUP, ROW_TOTALS
from tests.conformance.sequence_models import GROWING_STATE
from tests.model_repository.silent_faults import silent_faults

ROOT = Path(__file__).resolve().parents[2] / "model_repository"
CONFIGS = [
    path
    for path in sorted([*ROOT.glob("*/config.pbtxt"), *ROOT.glob("*/configs/cpu.pbtxt")])
    if model_config.read(path).backend == "onnxruntime"
]


def faults(model: Model, folder: Path) -> list[str]:
    """What is found in a model of the conformance suite."""
    model.write(folder)
    config = model_config.read(folder / model.name / "config.pbtxt")
    return silent_faults(
        config, onnxruntime.InferenceSession(folder / model.name / "1" / model.file)
    )


def with_parameters(**values: str) -> Mapping[str, Any]:
    return {"parameters": {name: {"string_value": value} for name, value in values.items()}}


ROWLESS = Model(
    "rowless",
    [node("ReduceSum", ["x"], ["y"], keepdims=0)],
    [Tensor("x", "FP32", ["rows", 2])],
    [Tensor("y", "FP32", [])],
)
"""Its output has no batch dimension."""
FIRST_ROW = Model(
    "first_row",
    [node("Slice", ["x", "zero", "one"], ["y"])],
    [Tensor("x", "FP32", ["rows", 2])],
    [Tensor("y", "FP32", ["some", 2])],
    initializers=[constant("zero", [0]), constant("one", [1])],
)
"""Its output has fewer rows than the batch."""
TWO_INSTANCES = {"instance_group": [{"kind": "KIND_CPU", "count": 2}]}
DENORMALS = with_parameters(**{"session.set_denormal_as_zero": "1"})
SPINNING = with_parameters(**{"session.force_spinning_stop": "1"})
ONE_THREAD = with_parameters(intra_op_thread_count="1")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_config_has_no_silent_fault(path: Path) -> None:
    config = model_config.read(path)
    file = ROOT / config.name / "1" / model_config.served_file(config)
    assert silent_faults(config, onnxruntime.InferenceSession(file)) == []


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (ROW_TOTALS, "input 'x' may have no elements"),
        (RAGGED_LOOKUP, "input 'x' may have no elements"),
        (GROWING_STATE, "state 'seen_before' has a variable shape"),
        (ROWLESS, "output 'y' has shape [], and the batch 3 rows"),
        (FIRST_ROW, "output 'y' has shape [1, 2], and the batch 3 rows"),
        (replace(FIXED_SHAPE, config=DENORMALS), "parameter 'session.set_denormal_as_zero'"),
        (replace(FIXED_SHAPE, config=TWO_INSTANCES), "each of 2 instances takes all cores"),
    ],
    ids=lambda value: value.name if isinstance(value, Model) else value.split()[0],
)
def test_a_config_with_a_silent_fault_is_refused(model: Model, fault: str, tmp_path: Path) -> None:
    (found,) = faults(model, tmp_path)
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "model",
    [
        SUM,
        LOOKUP,
        NO_BATCH,
        replace(FIXED_SHAPE, config=SPINNING),
        replace(FIXED_SHAPE, config={**TWO_INSTANCES, **ONE_THREAD}),
    ],
    ids=lambda model: model.name,
)
def test_other_configs_are_not(model: Model, tmp_path: Path) -> None:
    assert faults(model, tmp_path) == []
