"""A version is published whole, or the old one stays."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from build import manifest, publish

OLD, NEW = {"sources": "old"}, {"sources": "new"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model with a published version."""
    folder = tmp_path / "some_model"
    folder.mkdir()
    publish.ensure(folder, OLD, writes("old weights"))
    return folder


def writes(content: str) -> publish.Make:
    def make(folder: Path) -> dict[str, object]:
        (folder / "model.onnx").write_text(content)
        return {"accuracy": 0.99}

    return make


def fails(folder: Path) -> dict[str, object]:
    (folder / "model.onnx").write_text("half-writ")
    raise RuntimeError("the check failed")


def weights(model: Path) -> str:
    return (model / "1" / "model.onnx").read_text()


def test_a_new_version_replaces_the_old_one(model: Path) -> None:
    made, is_new = publish.ensure(model, NEW, writes("new weights"))
    assert is_new
    assert weights(model) == "new weights"
    assert manifest.read(model / "1") == made
    assert made.facts == {"accuracy": 0.99}


def test_an_up_to_date_version_is_not_made_again(model: Path) -> None:
    _, is_new = publish.ensure(model, OLD, fails)
    assert not is_new


def test_a_changed_file_is_made_again(model: Path) -> None:
    (model / "1" / "model.onnx").write_text("tampered")
    publish.ensure(model, OLD, writes("old weights"))
    assert weights(model) == "old weights"


def test_what_fails_leaves_the_old_version_and_nothing_else(model: Path) -> None:
    with pytest.raises(RuntimeError, match="the check failed"):
        publish.ensure(model, NEW, fails)
    assert weights(model) == "old weights"
    assert sorted(p.name for p in model.iterdir()) == [".build.lock", "1"]


def test_while_it_is_made_the_old_version_is_whole(model: Path) -> None:
    seen = {}

    def make(folder: Path) -> dict[str, object]:
        (folder / "model.onnx").write_text("new weights")
        seen["weights"] = weights(model)
        seen["numbered"] = str([p.name for p in model.iterdir() if p.name.isdigit()])
        return {}

    publish.ensure(model, NEW, make)
    assert seen == {"weights": "old weights", "numbered": "['1']"}


def test_a_build_killed_between_the_renames_is_undone(model: Path) -> None:
    (model / "1").rename(model / ".replaced")
    (model / ".incomplete-x").mkdir()
    _, is_new = publish.ensure(model, OLD, fails)
    assert not is_new
    assert weights(model) == "old weights"
    assert not (model / ".incomplete-x").exists()


def test_of_two_builds_at_once_the_second_finds_the_work_done(tmp_path: Path) -> None:
    folder = tmp_path / "some_model"
    folder.mkdir()
    both_started = threading.Barrier(2)
    made = []

    def make(into: Path) -> dict[str, object]:
        made.append(into)
        return writes("weights")(into)

    def build() -> bool:
        both_started.wait()
        return publish.ensure(folder, NEW, make)[1]

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(build) for _ in range(2)]
    assert sorted(result.result() for result in results) == [False, True]
    assert len(made) == 1
