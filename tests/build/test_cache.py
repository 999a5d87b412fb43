"""Downloads are complete and verified, or absent."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from build.data import cache
from build.data.cache import Package, cache_folder
from build.errors import BuildError

CONTENT = b"the pinned content"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pinned(tmp_path: Path) -> Package:
    (tmp_path / "content").write_bytes(CONTENT)
    return Package("thing", "1.0", "thing-1.0.bin", cache.sha256(tmp_path / "content"))


def client(content: bytes, log: Path | None = None) -> cache.PackageClient:
    """A package client that brings the given content, and logs that it ran."""
    code = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes({content!r})"
    if log:
        code += f"; print('ran', file=open({str(log)!r}, 'a'))"
    return lambda package, into: [sys.executable, "-c", code, str(into / package.filename)]


def entries() -> list[str]:
    return [p.name for p in cache_folder().iterdir() if not p.name.endswith(".lock")]


def test_a_verified_download_is_kept(pinned: Package) -> None:
    path = cache.fetch(pinned, client(CONTENT))
    assert path.read_bytes() == CONTENT
    assert entries() == [pinned.filename]


def test_a_cached_file_is_not_downloaded_again(pinned: Package, tmp_path: Path) -> None:
    log = tmp_path / "log"
    cache.fetch(pinned, client(CONTENT, log))
    cache.fetch(pinned, client(CONTENT, log))
    assert log.read_text() == "ran\n"


def test_a_wrong_digest_leaves_nothing(pinned: Package) -> None:
    with pytest.raises(BuildError, match=r"thing-1\.0\.bin: the SHA-256 is .* expected"):
        cache.fetch(pinned, client(b"something else"))
    assert entries() == []


def test_a_client_that_fails_is_quoted_in_one_line(pinned: Package) -> None:
    code = "import sys; print('noise'); sys.exit('ERROR: no network')"
    with pytest.raises(BuildError, match="ERROR: no network; check the network") as raised:
        cache.fetch(pinned, lambda *_: [sys.executable, "-c", code])
    assert "\n" not in str(raised.value)
    assert entries() == []


@pytest.mark.parametrize("says", ["npm error code ENOSPC", "[Errno 28] No space left on device"])
def test_a_client_that_meets_a_full_disk_does_not_blame_the_network(
    pinned: Package, says: str
) -> None:
    code = f"import sys; sys.exit({says!r})"
    with pytest.raises(OSError, match="No space left on device"):
        cache.fetch(pinned, lambda *_: [sys.executable, "-c", code])
    assert entries() == []


def test_a_missing_client_is_named(pinned: Package) -> None:
    with pytest.raises(BuildError, match="no-such-client is not installed"):
        cache.fetch(pinned, lambda *_: ["no-such-client"])


def test_of_two_builds_at_once_one_downloads(pinned: Package, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: cache.fetch(pinned, client(CONTENT, log)), range(4)))
    assert len(paths) == 1
    assert log.read_text() == "ran\n"


def test_a_relative_cache_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    with pytest.raises(BuildError, match="XDG_CACHE_HOME: 'somewhere' is not allowed"):
        cache_folder()
