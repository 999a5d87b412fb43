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


def test_a_version_with_a_part_that_is_no_longer_wanted_is_made_again(model: Path) -> None:
    publish.ensure(model, {**OLD, "checkpoint": "theirs"}, writes("their weights"))
    assert weights(model) == "their weights"
    publish.ensure(model, OLD, writes("old weights"))
    assert weights(model) == "old weights"


def test_what_it_was_compared_with_counts_only_for_who_asks(model: Path) -> None:
    more = {**OLD, manifest.COMPARED_WITH: "1.19.2"}
    assert publish.ensure(model, more, writes("old weights"))[1]
    for fingerprint in (OLD, more):
        assert not publish.ensure(model, fingerprint, fails)[1]


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


def test_of_two_builds_at_once_the_second_waits_and_finds_the_work_done(model: Path) -> None:
    first_inside, second_inside = threading.Event(), threading.Event()

    def first(into: Path) -> dict[str, object]:
        first_inside.set()
        # A second build that did not wait would be inside at once.
        assert not second_inside.wait(1)
        return writes("new weights")(into)

    def second(into: Path) -> dict[str, object]:
        second_inside.set()
        return writes("made twice")(into)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(publish.ensure, model, NEW, first)
        assert first_inside.wait(10)
        other = pool.submit(publish.ensure, model, NEW, second)
        assert one.result()[1]
        assert not other.result()[1]
    assert not second_inside.is_set()
    assert weights(model) == "new weights"
