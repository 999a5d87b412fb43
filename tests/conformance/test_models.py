"""What a model's folder and config may say besides its tensors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conformance.target import Target

pytestmark = pytest.mark.e2e

X = np.array([[1, -2]], dtype=np.float32)


def test_weights_may_lie_beside_a_model_of_another_name(target: Target) -> None:
    x = np.ones((2, 4), dtype=np.float32)
    expected = [[1001, 2001, 3001, 4001]] * 2
    assert target.infer("external_data", {"x": x})["y"].tolist() == expected


def test_versions_are_served_side_by_side(target: Target) -> None:
    inputs = {"x": np.array([[1]])}
    assert target.infer("versions", inputs, model_version="1")["y"].item() == 101
    assert target.infer("versions", inputs, model_version="3")["y"].item() == 301
    assert target.infer("versions", inputs)["y"].item() == 301


def test_warm_up_is_computed_before_the_first_request(target: Target) -> None:
    assert target.client.is_model_ready("warm")
    assert target.infer("warm", {"x": X})["y"].tolist() == [[-1, 2]]


@pytest.mark.parametrize("model", ["parameters", "shrinks"])
def test_model_computes_with_every_parameter_set(target: Target, model: str) -> None:
    assert target.infer(model, {"x": X})["y"].tolist() == [[-1, 2]]
