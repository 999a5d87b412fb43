"""What is published answers a text as transformers does, or is refused."""

import json
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from build import bert, export, reference
from build.errors import BuildError
from build.recipe import Gates
from tests.build.checkpoint.edits import edit_json, load
from tests.build.conftest import WriteCheckpoint

TEXTS = ["a film", "the long, long film", "A FILM!"]


@pytest.fixture(scope="module")
def published(
    write_checkpoint: WriteCheckpoint, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A checkpoint, and the folder of the version that was made of it."""
    folder = write_checkpoint("bad", "good", initializer_range=0.3)
    classifier = load(folder)
    version = tmp_path_factory.mktemp("repository") / "sentiment_bert" / "1"
    version.mkdir(parents=True)
    export.save(bert.to_onnx(classifier), version / "model.onnx")
    classifier.tokenizer.save(str(version / "tokenizer.json"))
    return folder, version


@pytest.fixture
def copies(published: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Both, to be changed."""
    folder, version = published
    copied = shutil.copytree(version, tmp_path / "sentiment_bert" / "1")
    return Path(shutil.copytree(folder, tmp_path / "checkpoint")), Path(copied)


def compare(folder: Path, version: Path) -> dict[str, object]:
    return reference.compare(folder, version, 40, TEXTS, Gates())


def test_the_answers_are_those_of_transformers_own_pipeline(published: tuple[Path, Path]) -> None:
    facts = compare(*published)
    assert int(str(facts["texts_compared"])) > len(TEXTS) + 30
    assert float(str(facts["largest_difference_of_texts"])) < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"problem_type": "multi_label_classification"},
        {"problem_type": "regression"},
        {"id2label": {"0": "good", "1": "bad"}},
        {"hidden_act": "relu"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_transformers_does_otherwise_is_found_whatever_it_is(
    copies: tuple[Path, Path], changes: dict[str, object]
) -> None:
    edit_json(copies[0] / "config.json", changes)
    with pytest.raises(BuildError, match=r"sentiment_bert: of '.*' transformers says .*bad") as it:
        compare(*copies)
    assert "\n" not in str(it.value)


def test_another_tokenizer_beside_the_network_is_found(copies: tuple[Path, Path]) -> None:
    file = copies[1] / "tokenizer.json"
    state = json.loads(file.read_text())
    state["normalizer"]["lowercase"] = False
    file.write_text(json.dumps(state))
    with pytest.raises(BuildError, match="transformers says"):
        compare(*copies)


def test_another_network_is_found(copies: tuple[Path, Path]) -> None:
    model = onnx.load(copies[1] / "model.onnx")
    (weight,) = (t for t in model.graph.initializer if t.name.endswith("pooler.dense.weight"))
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, copies[1] / "model.onnx")
    with pytest.raises(BuildError, match="transformers says"):
        compare(*copies)
