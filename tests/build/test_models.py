"""Models are built in the order of what needs what, and only if something of theirs changed."""

import shutil
from pathlib import Path

import pytest

from build import catalogue, manifest, models
from build.catalogue import REPOSITORY
from build.errors import BuildError
from build.publish import VERSION
from build.settings import Settings


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository without its versions."""
    left_out = shutil.ignore_patterns("[0-9]*", "__pycache__", ".*")
    return Path(shutil.copytree(REPOSITORY, tmp_path / "models", ignore=left_out))


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_model_comes_after_what_it_needs() -> None:
    order = [model.name for model in models.in_order(catalogue.read())]
    assert sorted(order) == sorted(catalogue.read())
    for first, then in (
        ("mnist_cnn", "mnist"),
        ("mnist_decoder", "mnist"),
        ("sentiment_bert", "sentiment_tokenizer"),
        ("sentiment_tokenizer", "sentiment"),
        ("sentiment_bert", "sentiment_explain"),
        ("sentiment_rnn", "stream_tokenizer"),
        ("stream_tokenizer", "sentiment_stream"),
    ):
        assert order.index(first) < order.index(then)


def test_models_that_need_each_other_are_named(copy: Path) -> None:
    edit(
        copy / "sentiment_bert/model.toml",
        "[build]",
        '[build]\nneeds = { sentiment_tokenizer = ["model.py"] }',
    )
    with pytest.raises(BuildError, match=r"need each other: .*sentiment_tokenizer"):
        models.in_order(catalogue.read(copy))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("same_labels = 0.97 }", "same_labels = 0.98 }"),
        ("epochs = 2", "epochs = 3"),
        ("accuracy = 0.83", "accuracy = 0.84"),
    ],
)
def test_another_setting_of_bert_concerns_bert_alone(copy: Path, old: str, new: str) -> None:
    networks = [name for name, model in catalogue.read(copy).items() if model.build.builder]
    before = {name: models.made_from(catalogue.read(copy)[name]) for name in networks}
    edit(copy / "sentiment_bert/model.toml", old, new)
    after = {name: models.made_from(catalogue.read(copy)[name]) for name in networks}
    assert {name for name in networks if after[name] != before[name]} == {"sentiment_bert"}


def test_what_is_said_about_asking_a_model_builds_nothing(copy: Path) -> None:
    before = models.made_from(catalogue.read(copy)["mnist_cnn"])
    edit(copy / "mnist_cnn/model.toml", "[ask]", "[ask]\ninputs = 7")
    edit(copy / "mnist_cnn/model.toml", 'description = "', 'description = "Also: ')
    assert models.made_from(catalogue.read(copy)["mnist_cnn"]) == before


def test_another_label_makes_another_model(copy: Path) -> None:
    before = models.made_from(catalogue.read(copy)["mnist_cnn"])
    edit(copy / "mnist_cnn/labels.txt", "7", "seven")
    assert models.made_from(catalogue.read(copy)["mnist_cnn"]) != before


def test_a_python_model_is_published_with_its_files_and_again_when_one_changes(copy: Path) -> None:
    settings = Settings(repository=copy)
    network = copy / "sentiment_bert" / VERSION
    network.mkdir()
    (network / "tokenizer.json").write_text("{}")
    model = catalogue.read(copy)["sentiment_explain"]
    made, is_new = models.ensure(model, settings)
    assert is_new
    shared = {"texts.py", "beginning.py"}  # which lie beside `sentiment_tokenizer`
    assert set(made.files) == {"model.py", "explanation.py", "tokenizer.json", *shared}
    assert made == manifest.read(model.folder / VERSION)
    assert models.ensure(model, settings) == (made, False)
    (network / "tokenizer.json").write_text("[]")
    assert models.ensure(model, settings)[1]


def test_an_ensemble_gets_an_empty_version(copy: Path) -> None:
    made, _ = models.ensure(catalogue.read(copy)["mnist"], Settings(repository=copy))
    assert (copy / "mnist" / VERSION).is_dir()
    assert made.files == {}


def test_a_file_that_is_missing_is_named(copy: Path) -> None:
    (copy / "mnist_decoder/model.py").unlink()
    with pytest.raises(BuildError, match=r"mnist_decoder: .*model\.py is missing"):
        models.ensure(catalogue.read(copy)["mnist_decoder"], Settings(repository=copy))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("epoch = 2", r"epoch is not known: it has to be one of epochs, batch_size"),
        ("epochs = 0", r"epochs is 0: it has to be greater than 0"),
        ("epochs = [2]", r"epochs is \[2\]: it has to be a valid integer"),
    ],
)
def test_training_that_a_builder_does_not_take_is_named_before_it_trains(
    copy: Path, new: str, message: str
) -> None:
    edit(copy / "mnist_cnn/model.toml", "epochs = 2", new)
    with pytest.raises(BuildError, match=rf"mnist_cnn/model\.toml: build\.training\.{message}"):
        models.ensure(catalogue.read(copy)["mnist_cnn"], Settings(repository=copy))


def test_a_repository_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"REPOSITORY is '.*nowhere': it has to be a folder"):
        Settings(repository=tmp_path / "nowhere")
