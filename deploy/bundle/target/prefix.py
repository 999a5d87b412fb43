"""The folder that a bundle is installed into: releases side by side, and a link to the one in use.

    PREFIX/bin -> current/bin
    PREFIX/current -> releases/2
    PREFIX/releases/1, 2     each with bin, app, venv

A release is made beside the others, where it stays, since an environment cannot be moved; it counts
once the link names it. The one before stays for servers that still run from it.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from deploy.bundle.target.errors import InstallError

MARK = ".model-serving"
_KEPT = 2


class Prefix:
    """The folder of an installation.

    Args:
        path: An absolute path; the folder is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._current = path / "current"
        self._releases = path / "releases"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other installations away.

        Raises:
            InstallError: One is under way.
        """
        lock = os.open(self.path / MARK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InstallError(f"another installation into {self.path} is under way") from None
        else:
            yield
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def new_release(self) -> Iterator[Path]:
        """A new folder, which takes the place of the current release if nothing goes wrong."""
        self._tidy()
        number = max([0, *(int(path.name) for path in self._all())]) + 1
        folder = self._releases / str(number)
        folder.mkdir(parents=True)
        try:
            yield folder
            self._switch(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._tidy()

    def forget_if_empty(self) -> None:
        """Removes what was made for a first installation that failed."""
        if self._current.is_symlink():
            return
        (self.path / MARK).unlink(missing_ok=True)
        for folder in (self._releases, self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _switch(self, folder: Path) -> None:
        for link, target in (
            (self._current, f"releases/{folder.name}"),
            (self.path / "bin", "current/bin"),
        ):
            new = link.with_name(f".{link.name}.new")
            new.unlink(missing_ok=True)
            new.symlink_to(target)
            new.replace(link)
        (self.path / MARK).touch()

    def _tidy(self) -> None:
        """Removes releases that were never finished, and those before the one before."""
        in_use = self._current.resolve().name if self._current.is_symlink() else ""
        finished = [path for path in self._all() if in_use and int(path.name) <= int(in_use)]
        for path in {*self._all()} - {*finished[-_KEPT:]}:
            shutil.rmtree(path, ignore_errors=True)

    def _all(self) -> list[Path]:
        if not self._releases.is_dir():
            return []
        found = (path for path in self._releases.iterdir() if path.name.isdigit())
        return sorted(found, key=lambda path: int(path.name))
