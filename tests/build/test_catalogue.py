"""Descriptions are validated in words, and what follows from the configs is read there."""

import shutil
from pathlib import Path

import pytest

from build import catalogue, model_config
from build.catalogue import REPOSITORY
from build.errors import BuildError

VALID = """
description = "Some model."
[build]
builder = "cnn"
training = { epochs = 2 }
gates = { accuracy = 0.9 }
[ask]
samples = "digits.pixels"
network = "some_model"
outputs = { label = "label", probabilities = "probabilities" }
"""


def described(folder: Path, text: str) -> catalogue.Model:
    """The model of a repository of one."""
    (folder / "some_model").mkdir()
    (folder / "some_model/model.toml").write_text(text)
    return catalogue.read(folder)["some_model"]


def test_every_model_that_is_shipped_is_described() -> None:
    assert list(catalogue.read()) == model_config.models(REPOSITORY)


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    model = described(tmp_path, VALID)
    assert model.name == "some_model"
    assert model.build.gates.difference == 1e-4
    assert model.build.gates.batch_sizes == (1, 2, 7, 32)
    assert model.ask
    assert model.ask.inputs is None
    assert model.ask.tolerances == {}


@pytest.mark.parametrize(
    ("valid", "invalid", "message"),
    [
        ("accuracy = 0.9", "accuracy = 90", "build.gates.accuracy is 90: it has to be less than"),
        ('"cnn"', '"cnm"', "build.builder is 'cnm': it has to be one of cnn, gru, bert"),
        ('"some_model"', '"other"', "ask.network is 'other': it has to be one of some_model"),
        ("[ask]", "[aks]", "aks is not known: it has to be one of description, build, ask"),
        ("accuracy =", "acuracy =", "build.gates.acuracy is not known: .* accuracy, difference"),
        ('label = "label",', "", "ask.outputs.label is missing"),
        ("[build]", "[build]\nneeds = { none = [] }", "build.needs is 'none': it has to be one"),
        ("[ask]", "[ask]\ntolerances.int4 = {}", r"int4.* is 'int4': .* 'fp32', 'fp16' or 'int8'"),
        ("[build]", "[build", "cannot be read: .*line 3"),
    ],
)
def test_what_is_not_valid_is_named_with_its_file(
    tmp_path: Path, valid: str, invalid: str, message: str
) -> None:
    assert valid in VALID
    with pytest.raises(BuildError, match=rf"some_model/model\.toml:? .*{message}") as raised:
        described(tmp_path, VALID.replace(valid, invalid))
    assert "\n" not in str(raised.value)


def test_what_is_no_model_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "by_hand" / "1").mkdir(parents=True)
    shutil.copytree(REPOSITORY / "mnist_decoder", tmp_path / ".incomplete")
    assert catalogue.read(tmp_path) == {}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("mnist_cnn", "mnist"),
        ("mnist_decoder", "mnist"),
        ("mnist", "mnist"),
        ("mnist_explain", "mnist_explain"),
        ("sentiment_bert", "sentiment"),
        ("sentiment_tokenizer", "sentiment"),
        ("sentiment_explain", "sentiment_explain"),
        ("sentiment_rnn", "sentiment_stream"),
        ("stream_tokenizer", "sentiment_stream"),
    ],
)
def test_callers_ask_the_ensemble_of_a_model(model: str, expected: str) -> None:
    assert catalogue.front(catalogue.read(), model) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("sentiment_bert", ["sentiment_explain", "sentiment_tokenizer"]),
        ("sentiment_rnn", ["stream_tokenizer"]),
        ("mnist_cnn", []),
    ],
)
def test_a_tokenizer_changes_with_its_network(model: str, expected: list[str]) -> None:
    assert catalogue.dependents(catalogue.read(), model) == expected


def test_a_recipe_has_the_labels_and_files_that_the_configs_name() -> None:
    models = catalogue.read()
    assert models["mnist_cnn"].recipe().labels == tuple("0123456789")
    assert models["mnist_cnn"].recipe().served == ("model.onnx",)
    assert models["sentiment_bert"].recipe().served == ("model.fp16.onnx", "model.int8.onnx")
