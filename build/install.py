"""Installs a group of packages with pip, shown as one bar: `python -m build.install GROUP`.

`--without GROUP` leaves out what another group names. It runs before anything is installed, so it
needs nothing but the standard library. What pip says is shown only where it fails.
"""

import argparse
import contextlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
_PINS = ("-c", "constraints.txt")
_WIDTH = 30
_FOR_PROCESSORS, _FOR_GPUS = "onnxruntime", "onnxruntime-gpu"
"""Two builds of one library, which write into the same folder."""


class PipError(Exception):
    """Pip failed; the message is what it said last."""


class Changes(NamedTuple):
    """What is to be done to the environment."""

    install: list[str]  # as `name==version`
    uninstall: list[str]


def main(group: str, without: str = "") -> None:
    """Installs what the group lacks, in the versions that are pinned.

    Args:
        group: Its name in pyproject.toml.
        without: Another group, whose packages are left out.

    Raises:
        PipError: They cannot be had, or do not fit together.
    """
    if group == "gpu" and sys.version_info < (3, 11):
        raise PipError(
            "onnxruntime-gpu for CUDA 13 needs Python 3.11 or 3.12, and this is "
            "{}.{}: choose one with PYTHON=, or set DEVICE=cpu".format(*sys.version_info)
        )
    began = time.monotonic()
    print(f"installing the packages of group '{group}' (the first time takes minutes)", flush=True)
    left_out = _named_by(without) if without else ()
    todo = changes(resolve(group), installed_builds(), left_out)
    if todo.uninstall:
        _run([*_PIP[:-1], "uninstall", "--yes", *todo.uninstall], Bar())
    if todo.install:
        # Python compiles a module when it is first imported; compiling all took most of the time.
        _pip([*_PINS, "--no-deps", "--no-compile", *todo.install], Bar(len(todo.install)))
    took = time.monotonic() - began
    print(f"{len(todo.install)} packages installed in {took:.0f} s", flush=True)


def changes(
    missing: Sequence[str], installed: Collection[str], left_out: Collection[str] = ()
) -> Changes:
    """What to install of the missing packages: of ONNX Runtime's builds that for GPUs, if any.

    Args:
        missing: The packages that the group lacks, as `name==version`.
        installed: The builds of ONNX Runtime that the environment has.
        left_out: The names of packages that are not wanted.

    Example:
        >>> changes(["onnxruntime-gpu==1.31.1"], ["onnxruntime"])
        Changes(install=['onnxruntime-gpu==1.31.1'], uninstall=['onnxruntime'])
    """
    names = {package.partition("==")[0] for package in missing}
    unwanted = {*left_out}
    if _FOR_GPUS in names | {*installed}:
        unwanted.add(_FOR_PROCESSORS)
    replaced = [name for name in installed if name == _FOR_PROCESSORS and _FOR_GPUS in names]
    wanted = [package for package in missing if package.partition("==")[0] not in unwanted]
    return Changes(wanted, replaced)


def installed_builds() -> list[str]:
    """The builds of ONNX Runtime that the environment has."""
    found: list[str] = []
    for name in (_FOR_PROCESSORS, _FOR_GPUS):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            found.append(name)
    return found


def resolve(group: str) -> list[str]:
    """The packages that the group lacks, as `name==version`.

    Raises:
        PipError: They cannot be had, or do not fit together.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        options = ["--dry-run", "--report", str(report), "--group", group]
        _pip([*_PINS, *options], Bar())
        packages = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    # Without what a local build adds to a version: the index names it by the pin.
    return [f"{each['name']}=={each['version'].partition('+')[0]}" for each in packages]


class Bar:
    """A bar on a terminal, and nothing elsewhere; `total` is 0 while nobody knows how many."""

    def __init__(self, total: int = 0) -> None:
        self._total = total
        self._seen = 0

    def __call__(self, package: str) -> None:
        """Counts a package."""
        self._seen += 1
        if not self._total:
            self._show(f"resolving: {self._seen} packages, {package}")
            return
        done = min(1.0, self._seen / self._total)
        filled = round(_WIDTH * done)
        bar = "━" * filled + "·" * (_WIDTH - filled)
        self._show(f"{bar} {self._seen} of {self._total}, {package}")

    def clear(self) -> None:
        """Leaves an empty line."""
        self._show("")

    def _show(self, text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[K{text}", end="", flush=True)


def _named_by(group: str) -> set[str]:
    """The packages that a group names, other groups in it aside."""
    if sys.version_info >= (3, 11):
        import tomllib

        groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
        return {re.split(r"[^\w.-]", each)[0] for each in groups[group] if isinstance(each, str)}
    return set()  # group gpu, of which something is left out, has no packages here


def _pip(options: Sequence[str], bar: Bar) -> None:
    _run([*_PIP, "--progress-bar", "off", *options], bar)


def _run(command: Sequence[str], bar: Bar) -> None:
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in pip.stdout:
            said.append(line.rstrip())
            if found := re.match(r"(?:Collecting|Installing collected packages:) ([\w.-]+)", line):
                bar(found[1] if line.startswith("C") else "unpacking")
    bar.clear()
    if pip.returncode:
        raise PipError("\n".join(said[-20:]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m build.install")
    parser.add_argument("group")
    parser.add_argument("--without", default="", metavar="GROUP")
    asked = parser.parse_args()
    try:
        main(asked.group, asked.without)
    except PipError as error:
        print(f"{error}\npip could not install group '{asked.group}'", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
