"""Finds a Triton to run: the one in the nvidia-pytriton wheel, or the one in TRITON_DIR."""

import importlib.util
import mmap
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from server.errors import InstallationError

MIN_GLIBC = (2, 35)
STUB = "triton_python_backend_stub"
"""The program that runs Python models, one process an instance."""


NEWER_FLAGS = frozenset({"allow-client-shm", "http-max-input-size"})
"""Flags of tritonserver that release 24.10 has not."""


@dataclass(frozen=True)
class Installation:
    """One Triton on this machine."""

    binary: Path
    backends: Path  # the folder of its own backends
    caches: Path  # the folder of its response caches
    libraries: Path  # the folder of shared libraries that it loads
    stub: Path | None  # the program that runs Python models, where it has one
    stub_python: tuple[int, int] | None  # (major, minor) of the Python inside that program
    flags: frozenset[str] = frozenset()  # those of `NEWER_FLAGS` that it knows

    @property
    def runs_our_python(self) -> bool:
        """Whether its Python models can use the packages of the running Python."""
        return self.stub_python == sys.version_info[:2]

    @property
    def python_hint(self) -> str:
        """What a message adds where Python models run in another Python than ours; else empty."""
        if not self.stub_python or self.runs_our_python:
            return ""
        return " (Python models use the packages of Python {}.{} there)".format(*self.stub_python)


def find_installation(triton_dir: Path | None) -> Installation:
    """Finds the Triton to run.

    Args:
        triton_dir: A folder with bin/tritonserver, backends/ and lib/; None for the wheel.

    Raises:
        InstallationError: There is none, or this machine cannot run it.
    """
    if triton_dir is not None:
        return _in_folder(triton_dir)
    check_machine(platform.machine(), _glibc_version())
    return _in_wheel(_pytriton_folder(), sys.version_info[:2])


def check_machine(machine: str, glibc: tuple[int, int] | None) -> None:
    """Checks that the packaged tritonserver can run on a processor, as `uname -m` names it.

    Raises:
        InstallationError: It cannot, or glibc is too old, or None: another C library.
    """
    elsewhere = "set TRITON_DIR to a Triton that was built for this machine, or use a container"
    if machine not in ("x86_64", "AMD64"):
        raise InstallationError(
            f"the packaged Triton runs on x86-64 only and this processor is {machine}: {elsewhere}"
        )
    if glibc is None or glibc < MIN_GLIBC:
        have = "another C library" if glibc is None else "glibc {}.{}".format(*glibc)
        raise InstallationError(
            "the packaged Triton needs glibc {}.{} or newer ".format(*MIN_GLIBC)
            + f"(Debian 12, Ubuntu 22.04) and this system has {have}: {elsewhere}"
        )


def python_of_stub(stub: Path) -> tuple[int, int] | None:
    """The (major, minor) version of Python that a stub was linked with, if it names one."""
    found = re.search(rb"libpython(\d+)\.(\d+)", stub.read_bytes())
    return (int(found[1]), int(found[2])) if found else None


def flags_of(binary: Path) -> frozenset[str]:
    """Which of `NEWER_FLAGS` a tritonserver knows: their names stand in the program."""
    with binary.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return frozenset()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return frozenset(flag for flag in NEWER_FLAGS if content.find(flag.encode()) >= 0)


def _glibc_version() -> tuple[int, int] | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if name == "glibc" and numbers else None


def _pytriton_folder() -> Path:
    # find_spec does not import the package, which would take a second and a half.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise InstallationError(
            f"nvidia-pytriton, which carries Triton, is not installed for {sys.executable}: "
            "run the command through make, or set TRITON_DIR to a Triton installation"
        )
    return Path(spec.origin).parent


def _in_wheel(package: Path, python: tuple[int, int]) -> Installation:
    root = package / "tritonserver"
    binary = root / "bin" / "tritonserver"
    if not binary.is_file():
        raise InstallationError(
            f"nvidia-pytriton is installed without {binary}: install the x86-64 wheel of 0.7.0"
        )
    name = "{}.{}".format(*python)
    stubs = root / "python_backend_stubs"
    stub = stubs / name / STUB
    if not stub.is_file():
        known = sorted((path.name for path in stubs.glob("3.*")), key=lambda v: int(v[2:]))
        raise InstallationError(
            f"the packaged Triton cannot run models on Python {name}, "
            f"only on {', '.join(known)}: make the environment with one of these"
        )
    return Installation(
        binary=binary,
        backends=root / "backends",
        caches=root / "caches",
        libraries=package.parent / "nvidia_pytriton.libs",
        stub=stub,
        stub_python=python,
        flags=flags_of(binary),
    )


def _in_folder(root: Path) -> Installation:
    binary = root / "bin" / "tritonserver"
    if not os.access(binary, os.X_OK) or not binary.is_file():
        raise InstallationError(
            f"TRITON_DIR is {str(root)!r}, which has no program bin/tritonserver: "
            "it has to be a Triton installation, such as /opt/tritonserver in NVIDIA's container"
        )
    stub = root / "backends" / "python" / STUB
    has_stub = stub.is_file()
    return Installation(
        binary=binary,
        backends=root / "backends",
        caches=root / "caches",
        libraries=root / "lib",
        stub=stub if has_stub else None,
        stub_python=python_of_stub(stub) if has_stub else None,
        flags=flags_of(binary),
    )
