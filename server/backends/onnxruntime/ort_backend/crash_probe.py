"""Tries inputs without elements in a process of its own, since some graphs crash on them.

A crash inside ONNX Runtime would end the process of the instance, and with it the model.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadRequestError
from .tensors import Tensors

_TIMEOUT_SECONDS = 60
_PYTHON = "python3"
"""The stub's own environment is that of the first python3 on the PATH."""


class CrashProbe:
    """Finds out which inputs without elements a model survives; each pattern is tried once."""

    def __init__(self, arguments: Mapping[str, str], path: Path) -> None:
        self._arguments = {**arguments, "path": str(path)}
        self._survived: dict[object, bool] = {}

    def check(self, feed: Tensors) -> None:
        """Checks that a run with these inputs, of which one has no elements, does not crash.

        Raises:
            BadRequestError: It does.
        """
        pattern = tuple(
            (name, tuple(size == 0 for size in array.shape)) for name, array in feed.items()
        )
        if pattern not in self._survived:
            self._survived[pattern] = self._survives(feed)
        if not self._survived[pattern]:
            empty = ", ".join(repr(name) for name, array in feed.items() if array.size == 0)
            raise BadRequestError(f"input {empty} has no elements, on which the model crashes")

    def _survives(self, feed: Tensors) -> bool:
        tensors = {
            name: (array.dtype.str, array.shape, array.reshape(-1).tolist())
            for name, array in feed.items()
        }
        try:
            process = subprocess.run(
                [shutil.which(_PYTHON) or sys.executable, "-m", __name__],
                cwd=Path(__file__).parents[__name__.count(".")],
                input=json.dumps({"arguments": self._arguments, "feed": tensors}),
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return process.returncode == 0


def _run(task: Mapping[str, Any]) -> None:
    from .config import read_config
    from .session import Device, open_session

    arguments = task["arguments"]
    config = read_config(json.loads(arguments["model_config"]))
    session = open_session(Path(arguments["path"]), config, Device.of(arguments))
    feed = {
        name: np.array(values, dtype=np.dtype(kind)).reshape(shape)
        for name, (kind, shape, values) in task["feed"].items()
    }
    # An error is an answer, which the instance will get itself.
    with contextlib.suppress(Exception):
        session.run(None, feed)


if __name__ == "__main__":
    _run(json.load(sys.stdin))
