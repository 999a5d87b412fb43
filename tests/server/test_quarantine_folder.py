"""What ended a server is kept where its next start finds it, and nobody else puts anything."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from server.errors import StartError
from server.guard_process import quarantine_folder
from server.settings import Settings


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def folder(tmp_path: Path, **values: str) -> Path:
    settings = Settings.from_environment({"MODEL_REPOSITORY": str(tmp_path), **values})
    return quarantine_folder(settings, tmp_path / "run")


def test_a_server_finds_it_again_by_its_port(tmp_path: Path, temporary: Path) -> None:
    first = folder(tmp_path, HTTP_PORT="21000")
    assert first == folder(tmp_path, HTTP_PORT="21000")
    assert first.parent == temporary
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert first != folder(tmp_path, HTTP_PORT="21001")


def test_a_server_on_a_free_port_keeps_it_for_as_long_as_it_runs(
    tmp_path: Path, temporary: Path
) -> None:
    assert folder(tmp_path, HTTP_PORT="0") == tmp_path / "run" / "quarantine"
    assert list(temporary.iterdir()) == []


def test_guards_share_the_one_that_is_named(tmp_path: Path) -> None:
    assert folder(tmp_path, QUARANTINE_DIR=str(tmp_path / "q")) == tmp_path / "q"


@pytest.mark.parametrize("made", ["open", "link"])
def test_a_folder_that_somebody_else_may_have_made_is_refused(
    tmp_path: Path, temporary: Path, made: str
) -> None:
    place = temporary / f"triton-quarantine-{os.getuid()}-21000"
    if made == "open":
        place.mkdir()
        place.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StartError, match="is not a private folder of this user: set QUARANTINE"):
        folder(tmp_path, HTTP_PORT="21000")
