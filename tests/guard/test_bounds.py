"""`[bounds]` of a model's description: how it is read, and that no version depends on it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from build import catalogue, models
from build.errors import BuildError
from server.guard.bounds import BoundsError, read_bounds

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
CONFIG = 'input [{ name: "x" data_type: TYPE_INT64 dims: [-1] }]'


def model(folder: Path, description: str, tokenizer: object = None) -> Path:
    made = folder / "m"
    (made / "1").mkdir(parents=True, exist_ok=True)
    (made / "model.toml").write_text(f'description = "A model."\n{description}\n')
    (made / "config.pbtxt").write_text(CONFIG)
    if tokenizer is not None:
        (made / "1" / "tokenizer.json").write_text(json.dumps(tokenizer))
    return made


def test_each_text_picture_and_raw_tensor_of_the_repository_is_bounded() -> None:
    for name, described in catalogue.read(REPOSITORY).items():
        assert described.bounds.keys() == described.inputs.keys(), name


def test_bounds_change_no_fingerprint() -> None:
    for described in catalogue.read(REPOSITORY).values():
        if described.build.builder:
            assert described.bounds
            without = described.model_copy(update={"bounds": {}})
            assert models.made_from(without) == models.made_from(described)


def test_a_model_without_a_description_has_no_bounds(tmp_path: Path) -> None:
    assert read_bounds(tmp_path, "1") == {}
    assert read_bounds(model(tmp_path, ""), "1") == {}


def test_a_tokenizer_says_which_ids_there_are_and_how_long_a_row_is(tmp_path: Path) -> None:
    table = '[bounds.x]\ntokenizer = "tokenizer.json"\nmin_length = 1'
    made = {"model": {"vocab": {"a": 0, "b": 7}}, "added_tokens": [{"id": 9}], "truncation": None}
    folder = model(tmp_path, table, made)
    bounds = read_bounds(folder, "1")["x"]
    assert (bounds.min, bounds.max, bounds.min_length, bounds.max_length) == (0, 9, 1, None)
    unigram = {"model": {"vocab": [["a", -1.5], ["b", -2]]}, "truncation": {"max_length": 16}}
    model(tmp_path, table, unigram)
    os.utime(folder / "1" / "tokenizer.json", ns=(1, 1))
    bounds = read_bounds(folder, "1")["x"]
    assert (bounds.max, bounds.max_length) == (1, 16)


@pytest.mark.parametrize(
    "description",
    [
        "[bounds.x]\nfinit = true",
        '[bounds.x]\nmin = "a"',
        "[bounds.x]\nmax_bytes = 0",
        "[bounds]\nx = 1",
        "bounds = 1",
        "[bounds.x",
        '[bounds.x]\ntokenizer = "none.json"',
    ],
)
def test_bounds_that_cannot_be_read_are_an_error_in_words(tmp_path: Path, description: str) -> None:
    folder = model(tmp_path, description)
    with pytest.raises(BoundsError, match=r"cannot be read|bounds"):
        read_bounds(folder, "1")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("[bounds.x]\nfinit = true", "bounds.x.finit is not known"),
        ("[bounds.y]\nfinite = true", "a table of bounds is 'y'"),
    ],
)
def test_bounds_that_say_nothing_end_a_build(tmp_path: Path, description: str, words: str) -> None:
    model(tmp_path, description)
    with pytest.raises(BuildError, match=words):
        catalogue.read(tmp_path)
