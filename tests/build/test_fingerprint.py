"""A fingerprint covers what a model is made from, all of it and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build import catalogue, fingerprint
from build.catalogue import BUILDERS
from build.errors import BuildError
from tests.build.conftest import WriteCheckpoint

FINE_TUNING = "build.classifier"


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources, for the program to look at."""
    shutil.copytree(fingerprint.ROOT / "build", tmp_path / "build")
    shutil.copy(fingerprint.ROOT / "constraints.txt", tmp_path)
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)
    return tmp_path


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def path_of(root: Path, module: str) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("builder", BUILDERS)
def test_what_a_builder_really_loads_is_in_its_fingerprint(
    builder: str, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    model = next(m for m in catalogue.read().values() if m.build.builder == builder)
    gates = model.build.gates.model_copy(update={"accuracy": 0.0, "batch_sizes": (1, 2)})
    update = {"gates": gates, "training": {**model.build.training, "epochs": 1}}
    if model.build.checkpoint == catalogue.CHOSEN:
        update["checkpoint"] = str(write_checkpoint("bad", "good"))
    recipe = model.recipe().model_copy(update=update)
    module = BUILDERS[builder]
    script = Path(__file__).with_name("run_builder.py")
    done = subprocess.run(
        [sys.executable, str(script), module, recipe.model_dump_json(), str(tmp_path)],
        cwd=fingerprint.ROOT,
        env={**os.environ, "PYTHONPATH": str(fingerprint.ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert module in loaded
    assert loaded <= set(fingerprint.program(module).sources)


@pytest.mark.parametrize("module", [*BUILDERS.values(), FINE_TUNING])
def test_a_change_of_any_file_that_is_found_changes_the_fingerprint(
    copy: Path, module: str
) -> None:
    before = fingerprint.of_program(module)
    files = {name: path_of(copy, name) for name in fingerprint.program(module).sources}
    for file in files.values():
        append(file, "\n# a comment\n")
    assert fingerprint.of_program(module) == before
    for name, file in files.items():
        source = file.read_text()
        append(file, "\nCHANGED = 1\n")
        assert fingerprint.of_program(module) != before, name
        file.write_text(source)


def test_a_module_that_a_function_imports_is_found(copy: Path) -> None:
    append(copy / "build/cnn.py", "\ndef late():\n    from build import added\n")
    (copy / "build/added.py").write_text("from .data.reviews import LABELS\n")
    found = set(fingerprint.program("build.cnn").sources)
    assert {"build.added", "build.data", "build.data.reviews"} <= found


def test_other_models_and_what_is_done_with_the_result_are_left_out(copy: Path) -> None:
    models = {
        "build.cnn": {"build.int8", "build.gru", "build.data.reviews"},
        "build.rnn": {"build.int8", "build.cnn", "build.data.digits"},
        FINE_TUNING: {"build.packed", "build.int8", "build.check", "build.export"},
    }
    for module, others in models.items():
        found = set(fingerprint.program(module).sources)
        assert not found & {*others, "build.catalogue", "build.manifest", "build.publish"}
        assert all(path_of(copy, other).is_file() for other in others)


def test_another_version_of_a_library_changes_the_fingerprint(copy: Path) -> None:
    constraints = copy / "constraints.txt"
    before = fingerprint.of_program("build.cnn")
    for library, counts in (("torch", True), ("pillow", True), ("locust", False)):
        pins = constraints.read_text()
        constraints.write_text(pins.replace(f"\n{library}==", f"\n{library}==1"))
        assert constraints.read_text() != pins
        assert (fingerprint.of_program("build.cnn") != before) is counts, library
        constraints.write_text(pins)


def test_a_library_that_is_not_pinned_is_named(copy: Path) -> None:
    append(copy / "build/cnn.py", "\nimport unheard_of.thing\n")
    with pytest.raises(BuildError, match="does not pin what brings the module unheard_of"):
        fingerprint.of_program("build.cnn")
