"""Steps that go wrong in every way in which a step can."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import NoGpuError
from loadtests.gpu_check.report import JSON_FILE
from loadtests.gpu_check.settings import Step
from loadtests.load.errors import LoadTestError

HUNG = "hung"
"""The file that tells that a step hangs."""
_ENDLESS = "import time\nwhile True: time.sleep(60)"


def step(name: str, seconds: int = 60, *, needs_cuda: bool = False) -> Step:
    """The step whose function has this name."""
    return Step("0", name, f"a step that is to {name}", f"{__name__}:{name}", seconds, needs_cuda)


def passes(check: Check) -> None:
    """Finds something."""
    check.findings.fact("device", os.environ["DEVICE"])
    table = check.findings.table("A table", "name", "figure", chart="figure")
    check.findings.row(table, "one", 1.5)


def fails(check: Check) -> None:
    """Finds something, and then what is expected to go wrong does."""
    passes(check)
    raise LoadTestError("the server did not start")


def breaks(check: Check) -> None:
    """Has a mistake in it."""
    passes(check)
    found: dict[str, str] = {}
    check.findings.fact("never told", found["missing"])


def has_problems(check: Check) -> None:
    """Goes on after a problem."""
    check.findings.problem("one label differs")
    passes(check)


def finds_no_gpu(check: Check) -> None:
    """Is told only by a library that there is none."""
    passes(check)
    raise NoGpuError("NVML tells of no GPU")


def dies(check: Check) -> None:
    """Ends as a fault in a library ends it."""
    passes(check)
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(check: Check) -> None:
    """Never ends, nor does what it started, in whatever session, before or after its parent."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    passes(check)
    inner = subprocess.Popen([sys.executable, "-c", _ENDLESS], start_new_session=True)
    # Its parent ends at once, so that nobody's child is left.
    orphan = subprocess.run(
        ["sh", "-c", f"setsid {sys.executable} -c '{_ENDLESS}' >/dev/null 2>&1 & echo $!"],
        capture_output=True,
        text=True,
        check=True,
    )
    check.findings.fact("processes", f"{os.getpid()} {inner.pid} {orphan.stdout.strip()}")
    (check.findings.path.parent / HUNG).touch()
    while True:
        time.sleep(60)


def asks_for_a_stop(check: Check) -> None:
    """Has the process that runs all steps stop."""
    passes(check)
    os.kill(os.getppid(), signal.SIGTERM)
    while True:
        time.sleep(60)


def running(pid: int) -> bool:
    """Whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def reads_the_report(check: Check) -> None:
    """Finds the result of the step before it on disk."""
    report = json.loads((check.settings.out / JSON_FILE).read_text())
    (before,) = report["steps"]
    if (before["name"], before["status"]) != ("passes", "passed"):
        check.findings.problem("the step before has no result")
