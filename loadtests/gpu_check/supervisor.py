"""Runs the steps, each in a process of its own that cannot outlive its time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loadtests.gpu_check import gpu
from loadtests.gpu_check.check import FAILED, NO_GPU, OK, SETTINGS_FILE
from loadtests.gpu_check.descendants import adopt_orphans, end_descendants
from loadtests.gpu_check.findings import Status, StepResult, read_findings
from loadtests.gpu_check.settings import REPORT, ROOT, CheckSettings, Step
from server.parent_death import in_child
from server.run_folder import remove_leftovers

MIN_SECONDS = 1.0
"""With less than this left a step is not begun."""
_POLL_SECONDS = 0.05
_LAST_LINES = 60
_STATUSES = {OK: Status.PASSED, NO_GPU: Status.NO_GPU}


class Supervisor:
    """Runs steps one after the other.

    Args:
        settings: Those of the check.
        work: A folder for what is of no use afterwards.
        stop: Asked again and again; once it returns true, no further step runs.
        on_result: Called with all results so far, whenever there is one more.
        on_begin: Called with each step before it runs.
        clock: The time in seconds.
    """

    def __init__(
        self,
        settings: CheckSettings,
        work: Path,
        stop: Callable[[], bool],
        on_result: Callable[[list[StepResult]], None],
        *,
        on_begin: Callable[[Step], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._work = work
        self._stop = stop
        self._on_result = on_result
        self._on_begin = on_begin
        self._clock = clock
        self._ends = clock() + settings.budget_s

    def run(self, steps: Sequence[Step]) -> list[StepResult]:
        """Runs the steps, whatever becomes of each."""
        (self._work / SETTINGS_FILE).write_text(self._settings.model_dump_json())
        adopt_orphans()
        results: list[StepResult] = []
        reserved = self._settings.limit(steps[-1])
        for step in steps:
            # The last one writes the report, for which there is always time.
            left = self._ends - self._clock() - reserved if step is not steps[-1] else reserved
            results.append(self._result(step, left))
            self._on_result(results)
        return results

    def _result(self, step: Step, left: float) -> StepResult:
        if self._stop():
            return _unrun(step, Status.LEFT_OUT, "a stop was asked for")
        if reason := self._refused(step):
            return _unrun(step, Status.NO_GPU, reason)
        if left < MIN_SECONDS:
            budget = f"the budget of {self._settings.budget_s} s is over"
            return _unrun(step, Status.LEFT_OUT, budget)
        return self._run(step, min(self._settings.limit(step), left))

    def _refused(self, step: Step) -> str:
        """Why a step cannot run on this machine."""
        if self._settings.device == "cpu":
            return "it needs a GPU, and DEVICE is cpu" if step.needs_cuda else ""
        # The machine is described in any case, and the report is written.
        return "" if step.name in ("machine", REPORT) else gpu.missing()

    def _run(self, step: Step, seconds: float) -> StepResult:
        self._on_begin(step)
        log = self._work / f"{step.name}.log"
        began = time.monotonic()
        code = self._process(step, seconds, log)
        took = time.monotonic() - began
        found = read_findings(self._work / f"{step.name}.json")
        status = Status.TIMED_OUT if code is None else _STATUSES.get(code, Status.FAILED)
        problems = found.problems or [f"its process ended with code {code}"]
        reason = (
            problems[0] if len(problems) == 1 else f"{problems[0]}, and {len(problems) - 1} more"
        )
        if status is Status.TIMED_OUT:
            why = "a stop was asked for" if self._stop() else f"it took over {seconds:.0f} s"
            reason = f"{why}: it was ended"
        is_bad = status in (Status.FAILED, Status.TIMED_OUT)
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if is_bad else []
        return StepResult(
            step.number,
            step.name,
            step.title,
            status,
            "" if status is Status.PASSED else reason,
            took,
            log=lines,
            **{name: value for name, value in vars(found).items() if name != "path"},
        )

    def _process(self, step: Step, seconds: float, log: Path) -> int | None:
        """The exit code of a step's process; None where it had to be ended."""
        command = [sys.executable, "-m", "loadtests.gpu_check.check", step.run, step.name]
        command += [str(self._work), f"{seconds:.1f}"]
        deadline = self._clock() + seconds
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environment(step),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only us
                preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
            )
        try:
            while (code := process.poll()) is None:
                if self._clock() > deadline or self._stop():
                    return None
                time.sleep(_POLL_SECONDS)
            return code
        finally:
            end_descendants()
            remove_leftovers((str(self._work),))

    def _environment(self, step: Step) -> dict[str, str]:
        # The device of the check is that of every server in it; what else chooses one is its own.
        foreign = {"CONFIG", "TRITON_URL", "TRITON_GRPC_URL", "MODEL_REPOSITORY", "WARM_UP"}
        kept = {name: value for name, value in os.environ.items() if name not in foreign}
        device = self._settings.device
        if device == "cpu":
            kept["CUDA_VISIBLE_DEVICES"] = "-1"
        elif step.opens_sessions:
            kept |= gpu.library_variables()
        own = {"DEVICE": device, "TMPDIR": str(self._work), "PYTHONUNBUFFERED": "1"}
        return {**kept, **own}


def exit_code(results: Sequence[StepResult]) -> int:
    """0 where every step passed; 3 where nothing is wrong but that a GPU was missing; else 1."""
    statuses = {result.status for result in results}
    if statuses <= {Status.PASSED}:
        return OK
    return NO_GPU if statuses <= {Status.PASSED, Status.NO_GPU} else FAILED


def _unrun(step: Step, status: Status, reason: str) -> StepResult:
    return StepResult(step.number, step.name, step.title, status, reason)
