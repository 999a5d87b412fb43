"""What the Python of this machine has installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FIND = """
import importlib.metadata as metadata, json, sys
found = {}
for each in metadata.distributions():
    name = (each.metadata["Name"] or "").lower().replace("_", "-")
    if name in sys.argv[1:] and name not in found:
        tops = {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "/")}
        found[name] = [each.version, str(each.locate_file("")), sorted(tops - {"__pycache__"})]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Package:
    """An installed package."""

    name: str
    version: str
    folder: Path  # where it is installed
    tops: tuple[str, ...]  # the files and folders of it that lie there


def find_package(names: Sequence[str]) -> Package | None:
    """Finds the first of some packages that the running Python has, the user's own among them."""
    # By another process: this one ignores what the user's variables add.
    command = [sys.executable, "-c", _FIND, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, tuple[str, str, list[str]]] = json.loads(done.stdout or "{}")
    for name in names:
        if name in found:
            version, folder, tops = found[name]
            return Package(name, version, Path(folder), tuple(tops))
    return None
