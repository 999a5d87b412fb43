"""The digests that the guards of one machine suspect: files in a folder that they share."""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import re
import secrets
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

MAX_ENTRIES = 1000
"""How many digests are kept: whoever sends ever new culprits fills no disk."""
_NAME = re.compile(r"([0-9a-f]{32,64})\.(suspect|culprit)")

_log = logging.getLogger(__name__)


class Verdict(Enum):
    """What is known of a digest; the values of the first two end the names of their files."""

    SUSPECT = "suspect"  # a server ended that had it
    CULPRIT = "culprit"  # servers ended because of it
    CLEARED = "cleared"  # nothing speaks against it


class _Entry(NamedTuple):
    verdict: Verdict
    deaths: int  # servers that ended and had it
    expires: float


class Suspects:
    """Digests with their verdicts, shared by all who use the same folder.

    A file is named by digest and verdict, and its size is the number of servers that ended. A
    counter in memory that the processes share tells when to read the folder again, so asking
    costs next to nothing while nothing is suspected.

    Args:
        folder: A private folder, made if it is missing.
        seconds: How long a verdict holds.
        clock: The time in seconds since the epoch.
    """

    def __init__(self, folder: Path, seconds: float, clock: Callable[[], float]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._seconds = seconds
        self._clock = clock
        handle = os.open(folder / "changes", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A page that finds no room later, on a full disk, would end the guard.
            os.posix_fallocate(handle, 0, 8)
            self._changes = mmap.mmap(handle, 8)
        finally:
            os.close(handle)
        self._seen = b""
        self._entries: dict[str, _Entry] = {}
        self._next_expiry = 0.0
        self._noted: set[str] = set()

    def none(self) -> bool:
        """Whether nothing is known of any digest."""
        if self._changes[:] == self._seen and not self._entries:
            return True
        self._read()
        return not self._entries

    def verdict(self, digest: str) -> Verdict:
        """What is known of a digest."""
        self._read()
        entry = self._entries.get(digest)
        return entry.verdict if entry else Verdict.CLEARED

    def deaths(self, digest: str) -> int:
        """How many servers ended that had it."""
        self._read()
        entry = self._entries.get(digest)
        return entry.deaths if entry else 0

    def most_deaths(self) -> list[str]:
        """The suspects that were on more than one server that ended."""
        self._read()
        suspects = (d for d, e in self._entries.items() if e.verdict is Verdict.SUSPECT)
        return [digest for digest in suspects if self._entries[digest].deaths > 1]

    def suspect(self, digest: str) -> None:
        """Notes that the server of this process ended and had it.

        That is told more than once of one end: when the process of a model ends, when the server
        does, and for each copy of the request. A suspect is sent again only on trial, so what
        this process has noted of it is always the same end.
        """
        verdict = self.verdict(digest)
        if verdict is Verdict.CULPRIT or (verdict is Verdict.SUSPECT and digest in self._noted):
            return
        self._noted = {each for each in self._noted if each in self._entries} | {digest}
        with self._change():
            self._make_room(digest)
            with self._path(digest, Verdict.SUSPECT).open("ab") as file:
                file.write(b".")

    def convict(self, digest: str) -> None:
        """Has all processes refuse a digest."""
        if not _NAME.fullmatch(f"{digest}.{Verdict.CULPRIT.value}"):
            return
        with self._change():
            self._make_room(digest)
            culprit = self._path(digest, Verdict.CULPRIT)
            with contextlib.suppress(FileNotFoundError):
                self._path(digest, Verdict.SUSPECT).rename(culprit)
            culprit.touch(mode=0o600)

    def clear(self, digest: str) -> None:
        """Forgets a suspect."""
        with self._change():
            self._path(digest, Verdict.SUSPECT).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of the shared memory."""
        self._changes.close()

    def _path(self, digest: str, verdict: Verdict) -> Path:
        return self._folder / f"{digest}.{verdict.value}"

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        # A guard whose disk is full goes on answering.
        try:
            yield
        except OSError as error:
            _log.error("the quarantine cannot be written: %s", error)
        # Any value but the last one makes every process read the folder again.
        self._changes[:] = secrets.token_bytes(8)

    def _make_room(self, digest: str) -> None:
        self._read()
        if digest in self._entries or len(self._entries) < MAX_ENTRIES:
            return
        # Suspects go first, the oldest of them before all.
        oldest = min(
            self._entries,
            key=lambda d: (self._entries[d].verdict is Verdict.CULPRIT, self._entries[d].expires),
        )
        self._path(oldest, self._entries[oldest].verdict).unlink(missing_ok=True)

    def _read(self) -> None:
        seen, now = self._changes[:], self._clock()
        if seen == self._seen and now < self._next_expiry:
            return
        entries: dict[str, _Entry] = {}
        try:
            with os.scandir(self._folder) as files:
                for file in files:
                    if name := _NAME.fullmatch(file.name):
                        self._add(entries, Path(file.path), name[1], Verdict(name[2]))
        except OSError as error:
            # What was known stays known.
            _log.error("the quarantine cannot be read: %s", error)
            entries = self._entries
        self._seen, self._entries = seen, entries
        self._next_expiry = min((e.expires for e in entries.values()), default=float("inf"))

    def _add(self, entries: dict[str, _Entry], file: Path, digest: str, verdict: Verdict) -> None:
        try:
            about = file.lstat()
        except FileNotFoundError:  # Another process was faster.
            return
        entry = _Entry(verdict, about.st_size, about.st_mtime + self._seconds)
        if entry.expires <= self._clock():
            file.unlink(missing_ok=True)
        elif verdict is Verdict.CULPRIT or digest not in entries:
            entries[digest] = entry
