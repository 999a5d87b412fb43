"""A variant is kept if it passes its check; one that a config serves must."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest

from build import bert, check, variants
from build.classifier import load
from build.data import checkpoints
from build.errors import BuildError
from build.export import Sample, save
from build.ragged import pack
from build.recipe import VariantGates
from build.variants import Comparison
from tests.build.conftest import WriteCheckpoint

GATES = dict.fromkeys(("int8", "fp16"), VariantGates(accuracy_loss=0.0, same_labels=1.0))
BATCHES: list[Sample] = [pack([[1, 5, 9, 2], [1, 7, 2]])]


@pytest.fixture(scope="module")
def made(
    write_checkpoint: WriteCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> tuple[onnx.ModelProto, Comparison]:
    """A small classifier with two layers, and what it answers."""
    model = bert.to_onnx(load(checkpoints.find(str(write_checkpoint("bad", "good")))))
    path = tmp_path_factory.mktemp("full") / "model.onnx"
    save(model, path)
    labels = check.labels(path, BATCHES)
    return model, Comparison(BATCHES, labels, labels)


def write(
    made: tuple[onnx.ModelProto, Comparison],
    folder: Path,
    *served: str,
    gates: Mapping[str, VariantGates] = GATES,
) -> dict[str, object]:
    return variants.write(
        made[0], 2, BATCHES, made[1], folder, gates=gates, served=served, others={}
    )


def test_what_passes_is_written_and_told(
    made: tuple[onnx.ModelProto, Comparison], tmp_path: Path
) -> None:
    assert write(made, tmp_path) == {
        "int8": {
            "fp32_layers": 0,
            "activation_scale": "constant",
            "same_labels": 1.0,
            "accuracy": 1.0,
        },
        "fp16": {"same_labels": 1.0, "accuracy": 1.0},
    }
    assert {p.name for p in tmp_path.glob("model.*")} == {"model.int8.onnx", "model.fp16.onnx"}


def test_what_loses_less_is_tried_until_the_check_passes(
    made: tuple[onnx.ModelProto, Comparison], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def third_passes(path: Path, *_: object) -> dict[str, float]:
        tried.append(path.read_bytes())
        if len(tried) < 3:
            raise BuildError("not yet")
        return {"same_labels": 1.0}

    monkeypatch.setattr(check, "variant", third_passes)
    assert write(made, tmp_path)["int8"] == {
        "fp32_layers": 1,
        "activation_scale": "token",
        "same_labels": 1.0,
    }
    assert (tmp_path / "model.int8.onnx").read_bytes() == tried[2]
    assert len(set(tried[:3])) == 3


def test_what_fails_is_left_out_unless_a_config_serves_it(
    made: tuple[onnx.ModelProto, Comparison], tmp_path: Path
) -> None:
    # More than all, which no description may ask for.
    gates = {"int8": VariantGates.model_construct(accuracy_loss=0.0, same_labels=1.1)}
    found = write(made, tmp_path, gates=gates)
    assert "100.00% of the labels are those of FP32" in str(found["int8"])
    assert not (tmp_path / "model.int8.onnx").exists()
    with pytest.raises(BuildError, match=r"to serve FP32, let the config .* name model\.onnx"):
        write(made, tmp_path, "model.int8.onnx", gates=gates)
