"""A repository that a search may write to."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The repository's configs, with links to its versions."""
    target = tmp_path / "models"
    for path in REPOSITORY.glob("*/config.pbtxt"):
        folder = target / path.parent.name
        (folder / "configs").mkdir(parents=True)
        shutil.copy(path, folder)
        for named in path.parent.glob("configs/cpu.pbtxt"):
            shutil.copy(named, folder / "configs")
        for labels in path.parent.glob("*.txt"):
            shutil.copy(labels, folder)
        (folder / "1").symlink_to(path.parent / "1")
    return target
