"""`python -m build` and `python -m build.install`, as make calls them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from build.install import Bar
from tests.build.checkpoint.edits import weights, write_weights
from tests.build.conftest import WriteCheckpoint
from tests.conftest import REPOSITORY

ROOT = REPOSITORY.parent


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One model, whose files are only copied."""
    unbuilt = shutil.ignore_patterns("[0-9]*", "__pycache__", ".build.lock")
    shutil.copytree(REPOSITORY / "mnist_decoder", tmp_path / "mnist_decoder", ignore=unbuilt)
    return tmp_path


def test_what_was_built_is_told_and_then_that_it_is_up_to_date(repository: Path) -> None:
    first = run("build", "--repository", str(repository))
    assert first.returncode == 0, first.stderr
    assert "mnist_decoder" in first.stdout
    assert (repository / "mnist_decoder" / "1" / "model.py").is_file()
    second = run("build", "--repository", str(repository))
    assert second.returncode == 0
    assert second.stdout == "All models are up to date.\n"


def test_a_folder_that_is_not_there_ends_the_build_with_a_line(tmp_path: Path) -> None:
    done = run("build", "--repository", str(tmp_path / "no"))
    assert done.returncode == 1
    assert done.stderr.startswith("build: REPOSITORY is '")
    assert done.stderr.count("\n") == 1


def test_a_description_that_is_not_valid_ends_the_build_with_a_line(repository: Path) -> None:
    file = repository / "mnist_decoder" / "model.toml"
    file.write_text("descriptoin = 'x'\n")
    done = run("build", "--repository", str(repository))
    assert done.returncode == 1
    assert f"{file}: descriptoin is not known" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_checkpoint_that_is_refused_ends_the_build_and_the_old_version_stays(
    tmp_path: Path, write_checkpoint: WriteCheckpoint
) -> None:
    unbuilt = shutil.ignore_patterns("[0-9]*", "__pycache__", ".build.lock")
    model = Path(
        shutil.copytree(REPOSITORY / "sentiment_bert", tmp_path / "sentiment_bert", ignore=unbuilt)
    )
    (model / "1").mkdir()
    (model / "1" / "model.onnx").write_text("old")
    folder = write_checkpoint("bad", "good")
    write_weights(
        folder, {name.replace("bert.", "model.bert."): v for name, v in weights(folder).items()}
    )
    done = run("build", "--bert", str(folder), "--repository", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"build: BERT={folder}: the weights are not those of a BERT as config.json describes it: "
        "39 weights are missing: bert.embeddings.LayerNorm.bias, bert.embeddings.LayerNorm.weight, "
        "bert.embeddings.position_embeddings.weight, bert.embeddings.token_type_embeddings.weight "
        "and 35 more; 39 weights are not known to BERT: model.bert.embeddings.LayerNorm.bias, "
        "model.bert.embeddings.LayerNorm.weight, model.bert.embeddings.position_embeddings.weight, "
        "model.bert.embeddings.token_type_embeddings.weight and 35 more; save them with "
        "transformers' save_pretrained\n"
    )
    assert sorted(path.name for path in model.iterdir() if path.name != ".build.lock") == [
        "1",
        "config.pbtxt",
        "configs",
        "model.toml",
    ]
    assert [path.name for path in (model / "1").iterdir()] == ["model.onnx"]


def test_what_pip_says_of_a_group_that_it_cannot_install_is_shown() -> None:
    done = run("build.install", "nobody")
    assert done.returncode == 1
    assert "'nobody'" in done.stderr
    assert done.stderr.endswith("pip could not install group 'nobody'\n")
    assert "Traceback" not in done.stderr


def test_a_bar_fills_with_what_is_installed_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Bar(2)("numpy")
    assert not capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    bar = Bar(2)
    bar("numpy")
    assert capsys.readouterr().out.endswith(f"{'━' * 15}{'·' * 15} 1 of 2, numpy")
    bar("rich")
    assert capsys.readouterr().out.endswith(f"{'━' * 30} 2 of 2, rich")
