"""Puts a version into the repository: written next to the old one, then renamed."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from build import manifest
from build.manifest import Manifest

VERSION = "1"
_INCOMPLETE = ".incomplete-"
_REPLACED = ".replaced"

Make = Callable[[Path], dict[str, object]]
"""Writes the files of a version into a folder; returns what was measured."""


def ensure(model: Path, fingerprint: dict[str, str], make: Make) -> tuple[Manifest, bool]:
    """Publishes a version of the model in a folder unless the one that is there is up to date.

    Of two concurrent builds the second waits, and then finds the work done. If `make`
    raises, the old version stays.

    Returns:
        The manifest of the published version, and whether it is new.
    """
    with FileLock(model / ".build.lock"):
        _recover(model)
        version = model / VERSION
        published = manifest.read(version)
        if published and is_current(published, version, fingerprint):
            return published, False
        started = time.monotonic()
        with _staged(model) as folder:
            facts = make(folder)
            seconds = round(time.monotonic() - started, 1)
            made = Manifest(model.name, fingerprint, manifest.digests(folder), seconds, facts)
            manifest.write(made, folder)
        return made, True


def is_current(published: Manifest, version: Path, fingerprint: Mapping[str, str]) -> bool:
    """Whether the version in a folder is whole, and was made from these parts and no others.

    What it was compared with on top of that does not matter to who does not ask for it.
    """
    made_from = {
        kind: digest
        for kind, digest in published.fingerprint.items()
        if kind in fingerprint or kind != manifest.COMPARED_WITH
    }
    return made_from == fingerprint and published.is_intact(version)


@contextmanager
def _staged(model: Path) -> Iterator[Path]:
    """A folder that replaces the version if nothing is raised.

    Triton never sees it, since it only looks at folders whose name is a number.
    """
    staging = Path(tempfile.mkdtemp(prefix=_INCOMPLETE, dir=model))
    staging.chmod(0o755)
    try:
        yield staging
        if (model / VERSION).exists():
            (model / VERSION).rename(model / _REPLACED)
        staging.rename(model / VERSION)
        shutil.rmtree(model / _REPLACED, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _recover(model: Path) -> None:
    """Cleans up after a killed build, and restores the old version."""
    replaced = model / _REPLACED
    if replaced.exists() and not (model / VERSION).exists():
        replaced.rename(model / VERSION)
    for leftover in [*model.glob(f"{_INCOMPLETE}*"), *model.glob(_REPLACED)]:
        shutil.rmtree(leftover, ignore_errors=True)
