"""Step 4: the conformance suite of the backend, its small models on instances of the device."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

from loadtests.gpu_check.check import Check
from loadtests.gpu_check.settings import ROOT
from server.parent_death import in_child

_LINE = re.compile(r"^(tests/\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b")
_REASON = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?::.+?) - (.*)$")
_SHOWN = 20


def check(check: Check) -> None:
    """Runs pytest and counts what it prints, so that what it did is known where it hangs."""
    command = [sys.executable, "-m", "pytest", *check.settings.conformance.split()]
    command += ["-v", "--color=no", "--tb=short", "-p", "no:cacheprovider"]
    command += ["--timeout", str(max(1, int(check.seconds_left)))]
    counts: Counter[str] = Counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
    ) as pytest:
        assert pytest.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in pytest.stdout:
            print(line, end="")
            if found := _LINE.match(line):
                counts[found[2].lower()] += 1
                check.findings.fact("tests", _summary(counts))
                if found[2] in ("FAILED", "ERROR") and sum(_bad(counts)) <= _SHOWN:
                    check.findings.problem(f"{found[1]} {found[2].lower()}")
            elif found := _REASON.match(line):
                check.findings.note(f"{found[1]}: {found[2]}"[:300])
        code = pytest.wait()
    if code and not any(_bad(counts)):
        check.findings.problem(f"pytest ended with code {code} and named no test that failed")
    if not counts["passed"]:
        check.findings.problem("no test passed")


def _bad(counts: Counter[str]) -> tuple[int, int]:
    return counts["failed"], counts["error"]


def _summary(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items())
