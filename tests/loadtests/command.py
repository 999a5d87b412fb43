"""Runs `python -m loadtests` as a person does."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.load.target import Target
from loadtests.report.metrics import read_counters
from server.triton import TritonServer
from tests.conftest import REPOSITORY

ROOT = REPOSITORY.parent
QUICK = {"WARM_UP": "1", "DURATION": "2", "INPUTS": "40", "USERS": "4", "SEED": "5"}


@dataclass(frozen=True)
class Finished:
    """A load test that ended.

    Attributes:
        code: Its exit code.
        report: What it printed as JSON; empty where it made none.
        errors: What it printed to standard error.
        page: The HTML report; None where it made none.
        served: How many requests to the model the server answered meanwhile.
    """

    code: int
    report: dict[str, Any]
    errors: str
    page: Path | None
    served: int = 0

    @property
    def result(self) -> dict[str, Any]:
        """The figures."""
        found: dict[str, Any] = self.report["result"]
        return found


def environment(server: TritonServer | None, variables: dict[str, str]) -> dict[str, str]:
    """The environment of a quick load test on a server."""
    at = {}
    if server is not None:
        at = {
            "URL": server.http_url,
            "TRITON_GRPC_URL": server.grpc_url,
            "TRITON_METRICS_URL": server.metrics_url,
        }
    return {**os.environ, **QUICK, **at, **variables}


def command(reports: Path) -> list[str]:
    """Its command line, with JSON to standard output."""
    return [sys.executable, "-m", "loadtests", "--json", "--reports", str(reports)]


def _counted(server: TritonServer | None, model: str) -> int:
    """How many requests to a model a server has answered so far."""
    if server is None:
        return 0
    return int(read_counters(Target.of(server).scrape(), [model])[model]["requests"])


def load_test(server: TritonServer | None, reports: Path, **variables: str) -> Finished:
    """Runs a load test to its end."""
    model = variables.get("MODEL", "sentiment")
    before = _counted(server, model)
    done = subprocess.run(
        command(reports),
        cwd=ROOT,
        env=environment(server, variables),
        capture_output=True,
        text=True,
        check=False,
    )
    page = next(reports.glob("*.html"), None)
    served = _counted(server, model) - before
    report = json.loads(done.stdout) if done.stdout else {}
    return Finished(done.returncode, report, done.stderr, page, served)
