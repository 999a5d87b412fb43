"""The answers of the CPU build to a few inputs, and runs of the check on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loadtests.gpu_check.prepare import prepare
from loadtests.gpu_check.settings import ROOT

INPUTS = 6
ABSENT = ("torch", "transformers", "pyarrow", "huggingface_hub", "safetensors", "onnxscript")
"""What a machine with a GPU need not have, by the group `gpu-check`."""
_BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"{{name}} is absent", name=name)

sys.meta_path.insert(0, Absent())
"""


@dataclass(frozen=True)
class Checked:
    """A check that ended."""

    code: int
    report: dict[str, Any]
    out: Path
    errors: str

    @property
    def statuses(self) -> dict[str, str]:
        """What became of each step."""
        return {step["name"]: step["status"] for step in self.report["steps"]}

    def step(self, name: str) -> dict[str, Any]:
        """A step, with all that it found."""
        return next(step for step in self.report["steps"] if step["name"] == name)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of the first table of a step, by column."""
        table = self.step(name)["tables"][0]
        return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The answers to a few inputs, of every model."""
    if sys.version_info < (3, 11):
        pytest.skip("there is no onnxruntime-gpu for CUDA 13 and Python 3.10")
    return prepare(tmp_path_factory.mktemp("answers") / "kept", inputs=INPUTS).folder


@pytest.fixture(scope="session")
def check(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> Callable[..., Checked]:
    """Runs the check to its end, as on a machine without PyTorch."""
    blocked = tmp_path_factory.mktemp("blocked")
    (blocked / "sitecustomize.py").write_text(_BLOCK)

    def run(**settings: str) -> Checked:
        out = tmp_path_factory.mktemp("out")
        variables = {"OUT": str(out), "KEPT": str(kept), "DEVICE": "cpu", **settings}
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.gpu_check", "--json"],
            cwd=ROOT,
            env={**os.environ, **variables, "PYTHONPATH": str(blocked)},
            capture_output=True,
            text=True,
            check=False,
        )
        return Checked(done.returncode, json.loads(done.stdout), out, done.stderr)

    return run
