"""What the Makefile calls exists, and what the README names is in the Makefile."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


# These call no program of ours that has options.
WITHOUT_PROGRAM = {"help", "lint", "format", "clean", "conformance", "demo"}


def make(*arguments: str) -> str:
    """What make prints."""
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def commands(target: str) -> list[list[str]]:
    """The `python -m` commands of a target, as arguments after the interpreter."""
    printed = make("--dry-run", target)
    modules = r"-m ((?:build(?!\.install)|server|clients|loadtests|deploy)\b.*?)(?: -- |$)"
    found = re.findall(modules, printed, re.MULTILINE)
    return [re.sub(r'--\w+ ""', "", command).split() for command in found]


@cache  # most targets build first
def help_of(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Has a program read its arguments, and do nothing."""
    command = [sys.executable, "-m", module, *arguments, "--help"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", sorted({*TARGETS} - WITHOUT_PROGRAM))
def test_a_target_calls_its_program_rightly(target: str) -> None:
    called = commands(target)
    assert called
    for module, *arguments in called:
        done = help_of(module, *arguments)
        assert done.returncode == 0, done.stderr


def test_a_checkout_may_have_any_path(tmp_path: Path) -> None:
    checkout = tmp_path / "it's a checkout; größer"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "build", ".venv"):
        (checkout / name).symlink_to(ROOT / name)
    # What was said to a make that runs this test is not for the one here.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    environment.pop("PYTHON", None)
    for target in ("serve", "demo", "test"):
        done = subprocess.run(
            ["make", "--no-print-directory", "--dry-run", target],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        # Every path is relative, so that no word of the checkout's own stands in a command.
        assert ".venv/bin/python -m" in done.stdout
        assert "checkout" not in done.stdout + done.stderr


def test_every_target_has_a_line_of_help() -> None:
    shown = make("help")
    # What make itself knows as targets that are no files, whatever the Makefile's comments say.
    phony = re.search(r"^\.PHONY: (.*)$", make("--print-data-base", "--dry-run", "help"), re.M)
    assert phony
    assert len(set(phony[1].split())) > 20
    for target in set(phony[1].split()):
        assert re.search(rf"^  make {target} +\S", shown, re.M), target


def test_where_the_models_compute_on_a_gpu_its_packages_come_first() -> None:
    # As in a new clone: with none of the stamps.
    new = ("--dry-run", "--always-make", "serve")
    on_gpu = re.findall(r"-m (build\.install \S+|server\S*)", make(*new, "DEVICE=gpu"))
    assert on_gpu == ["build.install gpu", "server.cuda.libraries", "build.install demo", "server"]
    assert "build.install gpu" not in make(*new, "DEVICE=cpu")


def test_a_bundle_for_gpus_changes_nothing_in_the_environment_that_makes_it() -> None:
    # DEVICE is that of the target; a GPU of this machine would be seen by itself.
    new = ("--dry-run", "--always-make", "bundle", "CONFIG=cpu")
    for_gpus, for_processors = (make(*new, f"DEVICE={device}") for device in ("gpu", "cpu"))
    assert for_gpus == for_processors
    assert "build.install gpu" not in for_gpus


@pytest.mark.parametrize(
    "document", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_documents_name_only_targets_that_exist(document: str) -> None:
    named = re.findall(
        r"^    make ([a-z-]+)|`make ([a-z-]+)", (ROOT / document).read_text(), re.MULTILINE
    )
    assert {a or b for a, b in named} <= set(TARGETS)
