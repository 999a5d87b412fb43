"""The cache of downloads: pinned files, verified, complete or absent."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from build.errors import BuildError

_ERROR_LINES = ("error", "npm err")  # how pip and npm begin them


@dataclass(frozen=True)
class Package:
    """A file that a package client downloads, and its digest in hexadecimal."""

    name: str
    version: str
    filename: str
    sha256: str


PackageClient = Callable[[Package, Path], list[str]]
"""Makes the command that brings a package into a folder."""


def cache_folder() -> Path:
    """The folder of downloads: `XDG_CACHE_HOME`, or `~/.cache`, and our name.

    Raises:
        BuildError: The variable is a relative path, which its specification says to refuse.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base and not Path(base).is_absolute():
        raise BuildError(f"XDG_CACHE_HOME: {base!r} is not allowed; give an absolute path")
    return (Path(base) if base else Path.home() / ".cache") / "triton-model-serving"


def npm(package: Package, into: Path) -> list[str]:
    """The command that downloads an npm package into a folder."""
    spec = f"{package.name}@{package.version}"
    return ["npm", "pack", spec, "--loglevel=error", "--pack-destination", str(into)]


def pip(package: Package, into: Path) -> list[str]:
    """The command that downloads a Python package into a folder.

    pip itself compares the digest, so that it runs nothing of a source
    distribution that is not the pinned one.
    """
    requirement = into / "requirement.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    kind = "--only-binary" if package.filename.endswith(".whl") else "--no-binary"
    options = ["--quiet", "--no-deps", "--require-hashes", "--disable-pip-version-check"]
    target = ["-d", str(into), "-r", str(requirement)]
    return [sys.executable, "-m", "pip", "download", *options, kind, ":all:", *target]


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fetch(package: Package, client: PackageClient) -> Path:
    """Returns the cached file of a package, downloading it the first time.

    A file gets its name in the cache only once it is complete and its digest
    is right, so a stopped build leaves nothing that looks finished. A second
    build that needs the same file waits for the first one.

    Raises:
        BuildError: The client is missing or failed, or the digest is wrong.
    """
    cached = cache_folder() / package.filename
    if cached.exists():
        return cached
    with exclusive(package.filename), scratch_folder() as scratch:
        if cached.exists():
            return cached
        print(f"downloading {package.name} {package.version}", flush=True)
        _download(package, client(package, scratch))
        downloaded = scratch / package.filename
        if not downloaded.exists():
            raise BuildError(f"{package.name}: the download brought no {package.filename}")
        _verify(package, downloaded)
        downloaded.replace(cached)
    return cached


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Locks the part of the cache called `name` for this build."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(cache_folder() / f"{name}.lock"):
        yield


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder on the file system of the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="incomplete-", dir=cache_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(package: Package, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    except FileNotFoundError:
        raise BuildError(f"{package.name}: {command[0]} is not installed") from None
    if done.returncode != 0:
        said = done.stderr + done.stdout
        if "ENOSPC" in said or os.strerror(errno.ENOSPC) in said:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        errors = [line for line in said.splitlines() if line.lower().startswith(_ERROR_LINES)]
        reason = errors[0] if errors else f"{Path(command[0]).name} gave no reason"
        raise BuildError(
            f"{package.name} {package.version} could not be downloaded: {reason.strip()}; "
            "check the network, then build again"
        )


def _verify(package: Package, path: Path) -> None:
    found = sha256(path)
    if found != package.sha256:
        raise BuildError(
            f"{package.filename}: the SHA-256 is {found}, expected {package.sha256}; "
            "what was downloaded is not what was pinned and was thrown away"
        )
