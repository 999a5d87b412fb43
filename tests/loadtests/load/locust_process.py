"""Runs Locust as its users do: `locust -f loadtests/locustfile.py ...`."""

import csv
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import REPOSITORY

LOCUSTFILE = REPOSITORY.parent / "loadtests" / "locustfile.py"
_OWN = ("SEED", "INPUTS", "MODEL_REPOSITORY", "PYTHONPATH")


def start(
    folder: Path, *arguments: str, beside: str = "", variables: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """Starts Locust in a folder of its own.

    Args:
        folder: Its working directory, made where it is missing.
        arguments: Further ones.
        beside: A file beside the locustfile, which Locust loads too.
        variables: Further environment variables.
    """
    folder.mkdir(exist_ok=True)
    files = f"{LOCUSTFILE},{beside}" if beside else str(LOCUSTFILE)
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", files, *arguments],
        cwd=folder,
        env={**kept, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Waits for the end; gives the exit code and what was printed."""
    with process:
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, output


def run(folder: Path, *arguments: str, beside: str = "") -> tuple[int, str]:
    """Runs Locust without its page to its end, with CSV files named `out`."""
    return finish(start(folder, "--headless", "--csv", "out", *arguments, beside=beside))


def rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file of Locust."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def statistics(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Locust's statistics by protocol and model."""
    found = rows(folder / "out_stats.csv")
    return {(row["Type"], row["Name"]): row for row in found if row["Name"] != "Aggregated"}
