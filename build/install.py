"""Installs a group of packages with pip, shown as one bar: `python -m build.install GROUP`.

It runs before anything is installed, so it needs nothing but the standard library. What pip
says is shown only where it fails.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
_PINS = ("-c", "constraints.txt")
_WIDTH = 30


class PipError(Exception):
    """Pip failed; the message is what it said last."""


def main(group: str) -> None:
    """Installs what the group lacks, in the versions that are pinned."""
    began = time.monotonic()
    print(f"installing the packages of group '{group}' (the first time takes minutes)", flush=True)
    missing = resolve(group)
    if missing:
        _pip([*_PINS, "--no-deps", *missing], Bar(len(missing)))
    print(f"{len(missing)} packages installed in {time.monotonic() - began:.0f} s", flush=True)


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


def _pip(options: Sequence[str], bar: Bar) -> None:
    said: list[str] = []
    command = [*_PIP, "--progress-bar", "off", *options]
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
    try:
        main(sys.argv[1])
    except PipError as error:
        print(f"{error}\npip could not install group '{sys.argv[1]}'", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
