"""The folder of a run lies where a shell takes its path as it is, and goes with its run."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import pytest

from server.errors import StartError
from server.run_folder import RunFolder, is_plain, remove_leftovers

SHM_PREFIX = "triton_1_0123abcd_"


@pytest.mark.parametrize(
    "path", ["/a b", "/a\nb", "/é", "/a$b", "/a;b", "/a:b", "/a'b", '/a"b', "/a*", "/~a", "/a "]
)
def test_a_path_that_a_shell_misreads_is_not_plain(path: str) -> None:
    assert not is_plain(Path(path))


@pytest.mark.parametrize("path", ["/", "/usr/lib/x86_64-linux-gnu", "/a.b/c_d-1+2,3@4=5%6"])
def test_a_plain_path_is_one_that_needs_no_quotes(path: str) -> None:
    assert is_plain(Path(path))
    assert shlex.quote(path) == path


def test_a_very_long_path_is_not_plain() -> None:
    assert not is_plain(Path("/" + "x" * 2000))


def test_the_folder_lies_in_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = RunFolder(SHM_PREFIX)
    assert made.path.parent == tmp_path
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_lies_elsewhere_if_tmpdir_has_a_path_that_is_not_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a b"
    odd.mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    made = RunFolder(SHM_PREFIX)
    assert is_plain(made.path)
    assert made.plain(tmp_path, "it") == tmp_path
    link = made.plain(odd, "it")
    assert is_plain(link)
    assert link.resolve() == odd.resolve()
    made.close()
    assert list(odd.iterdir()) == []


def test_no_other_folder_is_taken_silently_for_a_tmpdir_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "no"))
    with pytest.raises(StartError, match=r"no cannot be used \(No such file.*set TMPDIR"):
        RunFolder(SHM_PREFIX)


def test_only_what_nobody_uses_any_more_is_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    used = RunFolder(SHM_PREFIX)
    other = Path(tempfile.mkdtemp(prefix="triton-", dir=tmp_path))  # not made by a run
    left = Path(tempfile.mkdtemp(prefix="triton-", dir=tmp_path))
    (left / "shared-memory").write_text(SHM_PREFIX)
    (left / "triton.log").touch()
    remove_leftovers(())
    assert set(tmp_path.iterdir()) == {used.path, other}
    used.close()
