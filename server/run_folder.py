"""The temporary folder of one run of Triton."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from server.errors import StartError
from server.processes import remove_shared_memory

_PREFIX = "triton-"
_MARK = "shared-memory"  # names the shared memory of the run, by how its names begin
_ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - mkdtemp makes private folders in it
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=,./-]+", re.ASCII)
_MAX_PLAIN = 1000
"""Characters of a path, to which Triton adds names of its own."""


class RunFolder:
    """A new private folder whose path, as that of what is linked in it, no shell misreads.

    Triton's Python backend starts the process of a model through a shell and quotes nothing. The
    folder lies in TMPDIR, or elsewhere if that has a path which a shell would take apart, or
    forbids programs. It is locked: whoever finds an unlocked one may remove it, as
    the next run of the same user does after all processes of this one were killed.

    Args:
        shm_prefix: How the names of the run's shared memory begin.

    Attributes:
        path: The folder.
        lock: A file descriptor; the folder is in use while a process has it open.

    Raises:
        StartError: No folder can be made, in words about where and why.
    """

    def __init__(self, shm_prefix: str) -> None:
        self.path = _make()
        self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        with self.writing():
            (self.path / _MARK).write_text(shm_prefix)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns what goes wrong with the folder's files into a StartError."""
        try:
            yield
        except OSError as error:
            raise _refused(self.path.parent, error) from None

    def plain(self, path: Path, name: str) -> Path:
        """The path of a folder; a link of that name in this one if a shell would misread it."""
        if is_plain(path):
            return path
        link = self.path / name
        link.symlink_to(path)
        return link

    def close(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def is_plain(path: Path) -> bool:
    """Tells whether a shell, PATH and LD_LIBRARY_PATH take a path as it is."""
    return len(str(path)) <= _MAX_PLAIN and _PLAIN.fullmatch(str(path)) is not None


def remove_leftovers(places: tuple[str, ...] = _ELSEWHERE) -> None:
    """Removes the folders and the shared memory of this user's runs that were killed."""
    for place in dict.fromkeys([*places, os.environ.get("TMPDIR") or tempfile.gettempdir()]):
        for folder in Path(place).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _remove_left_over(folder)


def _remove_left_over(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            return
        shm_prefix = (folder / _MARK).read_text()  # written once the folder is locked
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if re.fullmatch(r"triton_\d+_[0-9a-f]{8}_", shm_prefix):
            remove_shared_memory(shm_prefix)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _make() -> Path:
    # A TMPDIR that cannot be used is told, where tempfile would take another folder.
    wanted = os.environ.get("TMPDIR", "")
    try:
        place = Path(wanted or tempfile.gettempdir()).absolute()
        made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
    except OSError as error:
        raise _refused(Path(wanted or "/tmp"), error) from None  # noqa: S108
    if (why := _unfit(made)) is None:
        return made
    made.rmdir()
    for other in _ELSEWHERE:
        with contextlib.suppress(OSError):
            made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=other))
            if _unfit(made) is None:
                return made
            made.rmdir()
    raise StartError(
        f"the temporary folder {place} {why}, and none of {', '.join(_ELSEWHERE)} can be used "
        "instead: set TMPDIR to a folder that can"
    )


def _unfit(folder: Path) -> str | None:
    if not is_plain(folder):
        return "has a path that a shell would misread"
    if os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return "forbids to run programs (noexec)"
    return None


def _refused(place: Path, error: OSError) -> StartError:
    why = error.strerror or str(error)
    if isinstance(error, shutil.Error):  # of a whole folder: source, target and reason of each file
        why = re.sub(r"^\[Errno \d+\] ([^:]*).*", r"\1", str(error.args[0][0][2]))
    with contextlib.suppress(OSError):  # where there is no such folder
        free = shutil.disk_usage(place).free
        why += f"; {free / 2**20:.0f} MiB are free"
    return StartError(
        f"the temporary folder {place} cannot be used ({why}): make room there, or set TMPDIR to "
        "another folder"
    )
