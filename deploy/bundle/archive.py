"""Writes the archive: the same bytes for the same files, in one file or in parts with sums."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import tarfile
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

from typing_extensions import Self

from deploy.bundle.contents import Entry

SUMS = "SHA256SUMS"
"""The file of digests, as `sha256sum --check` reads it."""
_EPOCH = 315_532_800  # 1980, the oldest time that a zip file, and so a wheel, can hold
_BLOCK = 1 << 20
_XZ_BLOCK = 64 << 20  # each is a stream of its own, so that several are packed at a time
_MAX_THREADS = 4  # each takes 100 MB and the block


class Sink(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> int:
        """Takes all of them."""


def sums_of(entries: Iterable[Entry]) -> str:
    """The content of `SUMS`: SHA-256 of every file, in the order of the names."""
    return "".join(
        f"{sha256(entry.source)}  {entry.name}\n" for entry in sorted(entries, key=lambda e: e.name)
    )


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_tar(entries: Iterable[Entry], folder: str, sink: Sink) -> None:
    """Writes files, sorted and without owners and times, as a tar with one folder.

    Args:
        entries: The files.
        folder: The name of the folder.
        sink: What the tar is written to.
    """
    with tarfile.open(fileobj=cast(Any, sink), mode="w|", format=tarfile.GNU_FORMAT) as tar:
        for entry in sorted(entries, key=lambda each: each.name):
            info = tarfile.TarInfo(f"{folder}/{entry.name}")
            info.size = entry.source.stat().st_size
            info.mtime = _EPOCH
            info.mode = 0o755 if entry.executable else 0o644
            with entry.source.open("rb") as file:
                tar.addfile(info, file)


class Xz:
    """Packs what is written to it with xz, several streams at a time, in order.

    Args:
        sink: What gets the packed bytes.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._block = bytearray()
        self._threads = min(_MAX_THREADS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self._threads)
        self._packing: deque[Future[bytes]] = deque()

    def write(self, data: bytes) -> int:
        """Takes bytes of the archive."""
        self._block += data
        while len(self._block) >= _XZ_BLOCK:
            self._pack(bytes(self._block[:_XZ_BLOCK]))
            del self._block[:_XZ_BLOCK]
        return len(data)

    def close(self) -> None:
        """Packs the rest."""
        if self._block:
            self._pack(bytes(self._block))
        self._drain(0)
        self._pool.shutdown()

    def _pack(self, block: bytes) -> None:
        self._packing.append(self._pool.submit(lzma.compress, block))
        self._drain(self._threads)

    def _drain(self, left: int) -> None:
        while len(self._packing) > left:
            self._sink.write(self._packing.popleft().result())


class Parts:
    """Writes a file in parts, `<name>.001` and so on, or in one, and their sums beside them.

    Args:
        file: The path of the file, which is only there when there is one part.
        part_bytes: Bytes of a part at most; None for one file.
    """

    def __init__(self, file: Path, part_bytes: int | None) -> None:
        self._file = file
        self._limit = part_bytes
        self._open: io.BufferedWriter | None = None
        self._room = 0
        self.paths: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._open.close()

    def write(self, data: bytes) -> int:
        """Takes bytes of the file."""
        view = memoryview(data)
        while view:
            if not self._open or (self._limit and not self._room):
                self._next()
            assert self._open  # noqa: S101 - just opened
            piece = view[: self._room] if self._limit else view
            self._open.write(piece)
            self._room -= len(piece)
            view = view[len(piece) :]
        return len(data)

    def _next(self) -> None:
        if self._open:
            self._open.close()
        name = self._file.name + (f".{len(self.paths) + 1:03}" if self._limit else "")
        path = self._file.with_name(name)
        self._open = path.open("wb")
        self._room = self._limit or 0
        self.paths.append(path)
