"""What the Makefile calls exists, and what the README names is in the Makefile."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def commands(target: str) -> list[list[str]]:
    """The `python -m` commands of a target, as arguments after the interpreter."""
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    modules = r"-m ((?:build|server|clients|loadtests|deploy)\b[^\n]*)"
    return [re.sub(r'--\w+ ""', "", found).split() for found in re.findall(modules, printed)]


@pytest.mark.parametrize(
    "target",
    [
        "build",
        "serve",
        "cluster",
        "publish",
        "promote",
        "rollback",
        "bench",
        "bench-peers",
        "bench-backend",
        "bench-models",
        "bench-packing",
        "bench-explain",
        "loadtest",
        "loadtest-ui",
        "tune",
    ],
)
def test_a_target_calls_its_program_rightly(target: str) -> None:
    for module, *arguments in commands(target):
        command = [sys.executable, "-m", module, *arguments, "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_target_has_a_line_of_help() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"make {target} " in shown.stdout for target in TARGETS)


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_documents_name_only_targets_that_exist(document: str) -> None:
    named = re.findall(
        r"^    make ([a-z-]+)|`make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE
    )
    assert {a or b for a, b in named} <= set(TARGETS)
