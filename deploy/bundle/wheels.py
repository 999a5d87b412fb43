"""The wheels of a bundle: what groups of packages need on the target's Python, downloaded by pip.

pip's own resolver takes the markers of requirements for the Python that it runs on, whatever
`--python-version` says. Since `constraints.txt` pins every package, nothing has to be resolved:
the requirements are followed here, with the target's markers, and pip downloads what they name.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.dependency_groups import resolve_dependency_groups
from packaging.markers import Marker, default_environment
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from deploy.bundle.errors import BundleError
from server.installation import MIN_GLIBC

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PIP = "pip==25.3"
"""What installs the wheels on the target, whose Python may lack it; the Makefile's version."""
_MACHINE = "x86_64"
_OLDEST_GLIBC = 5  # manylinux_2_5, the oldest platform that wheels name
_ALIASES = ("manylinux2014", "manylinux2010", "manylinux1")
_OURS = {"nvidia-pytriton", "nvidia-ml-py"}  # of NVIDIA, and no CUDA library

Download = Callable[[list[str], Path], None]
"""Brings requirements such as `numpy==1.26.4`, without what they need, into a folder."""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the bundle."""

    path: Path
    name: str  # canonical
    option: str = ""  # of `LEAVABLE`: what has to be left out for the wheel not to be needed


@dataclass(frozen=True)
class Target:
    """The Python that the wheels are for.

    Args:
        python: Its version, such as `3.12`.
    """

    python: str

    def wants(self, marker: Marker | None, extras: Iterable[str] = ()) -> bool:
        """Whether a marker holds there, for a package with one of these extras."""
        if marker is None:
            return True
        environment: dict[str, Any] = {
            **default_environment(),
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_version": f"{self.python}.0",
            "platform_machine": _MACHINE,
        }
        return any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras))

    def pip_options(self) -> list[str]:
        """What has pip choose wheels for it."""
        platforms = [
            f"manylinux_{MIN_GLIBC[0]}_{minor}"
            for minor in range(MIN_GLIBC[1], _OLDEST_GLIBC - 1, -1)
        ]
        options = ["--only-binary", ":all:", "--python-version", self.python]
        for platform in (*platforms, *_ALIASES, "linux"):
            options += ["--platform", f"{platform}_{_MACHINE}"]
        return options


def pins(constraints: str, target: Target) -> dict[str, str]:
    """The exact version of each package, by its canonical name, as a constraints file says."""
    found: dict[str, str] = {}
    for line in constraints.splitlines():
        if text := line.partition("#")[0].strip():
            requirement = Requirement(text)
            if target.wants(requirement.marker):
                found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def read_project(project: Path) -> dict[str, Any]:
    """The content of a `pyproject.toml`."""
    content: dict[str, Any] = tomllib.loads(project.read_text())
    return content


def requirements_of(project: Path, groups: Iterable[str]) -> list[Requirement]:
    """The requirements of groups of a `pyproject.toml`."""
    groups_there = read_project(project)["dependency-groups"]
    return [Requirement(text) for text in resolve_dependency_groups(groups_there, *groups)]


def collect(
    wanted: Iterable[Requirement],
    pinned: Mapping[str, str],
    target: Target,
    into: Path,
    *,
    skip: Callable[[str], bool] = lambda _: False,
    download: Download | None = None,
) -> dict[str, Path]:
    """Downloads packages and all that they need.

    Args:
        wanted: The packages to begin with.
        pinned: `==` and the version of each, by canonical name.
        target: What they are for.
        into: The folder to fill.
        skip: Tells which packages, by canonical name, are not needed, with all that only they need.
        download: Another way to download than pip.

    Returns:
        The wheels, by canonical name.

    Raises:
        BundleError: One is not pinned, or there is no such wheel.
    """
    download = download or (lambda names, folder: _pip_download(names, folder, target))
    wheels = {name_of(path): path for path in into.glob("*.whl")}
    followed: set[tuple[str, frozenset[str]]] = set()
    waiting = [each for each in wanted if target.wants(each.marker)]
    while waiting:
        waiting = [each for each in waiting if not skip(canonicalize_name(each.name))]
        names = sorted({canonicalize_name(each.name) for each in waiting} - wheels.keys())
        if unknown := [name for name in names if name not in pinned]:
            raise BundleError(f"constraints.txt does not say which version of {unknown[0]} to take")
        if names:
            download([f"{name}{pinned[name]}" for name in names], into)
            wheels = {name_of(path): path for path in into.glob("*.whl")}
        following = []
        for each in waiting:
            name, extras = canonicalize_name(each.name), frozenset(each.extras)
            if (name, extras) not in followed:
                followed.add((name, extras))
                needs = _needs(wheels[name])
                following += [need for need in needs if target.wants(need.marker, extras)]
        waiting = following
    return {name: wheels[name] for name in sorted({name for name, _ in followed})}


def option_of(name: str) -> str:
    """What of `LEAVABLE` a package, by its canonical name, belongs to; empty for none."""
    if name in ("onnxruntime", "onnxruntime-gpu"):
        return "onnxruntime"
    return "cuda-libraries" if name.startswith("nvidia-") and name not in _OURS else ""


def name_of(wheel: Path) -> str:
    """The canonical name of the package in a wheel."""
    return str(parse_wheel_filename(wheel.name)[0])


def _needs(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as archive:
        (file,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = Metadata.from_email(archive.read(file), validate=False)
    return list(metadata.requires_dist or [])


def _pip_download(names: list[str], into: Path, target: Target) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download"]
    options = ["--quiet", "--progress-bar", "off", "--no-deps", "--dest", str(into)]
    command = [*pip, *options, *target.pip_options(), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise BundleError(
            f"pip found no wheels for Python {target.python}: "
            + (said[-1].removeprefix("ERROR: ") if said else done.stderr.strip())
        )
