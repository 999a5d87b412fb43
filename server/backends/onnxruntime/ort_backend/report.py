"""Tells the server that started Triton what an instance computes on."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = "ORT_BACKEND_REPORTS"
"""The variable that names the folder of the reports; without it there are none."""


class Report:
    """The file of one instance: there while it runs."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        names = ("model_name", "model_version", "model_instance_name")
        self._fields = dict(
            zip(("model", "version", "instance"), (arguments[name] for name in names), strict=True)
        )
        folder = os.environ.get(_FOLDER)
        self._file = Path(folder, "-".join(self._fields.values()) + ".json") if folder else None

    def write(self, fields: Mapping[str, Any]) -> None:
        """Writes the report; where that is impossible, the instance serves without it."""
        if self._file is None:
            return
        unfinished = self._file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            unfinished.write_text(json.dumps({**self._fields, **fields}))
            unfinished.replace(self._file)

    def remove(self) -> None:
        """Removes it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
