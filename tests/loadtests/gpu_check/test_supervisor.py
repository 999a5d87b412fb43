"""Whatever becomes of a step, the next one runs, and what was found is kept."""

import json
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loadtests.gpu_check.findings import Status, StepResult
from loadtests.gpu_check.report import JSON_FILE, write_results
from loadtests.gpu_check.settings import CheckSettings, Step
from loadtests.gpu_check.supervisor import Supervisor, exit_code
from server.signals import StopSignals
from tests.loadtests.gpu_check.made_up import HUNG, running, step

LONG_AFTER = 1000
"""Seconds."""


def _supervise(settings: CheckSettings, steps: Sequence[Step]) -> None:
    """What the command line does, with other steps."""
    work = settings.out / "work"
    work.mkdir()

    def told(results: list[StepResult]) -> None:
        write_results(settings, "now", results, None)

    def clock() -> float:
        """Long after a step has begun to hang, at once."""
        return time.monotonic() + (LONG_AFTER if (work / HUNG).exists() else 0)

    with StopSignals() as signals:
        results = Supervisor(settings, work, signals.stop, told, clock=clock).run(steps)
    write_results(settings, "now", results, exit_code(results))


def run(out: Path, *steps: Step, **settings: Any) -> dict[str, Any]:
    """Runs steps in a process of its own, which adopts and ends what they leave behind."""
    values = {"device": "cpu", "budget_s": 480, **settings}
    process = multiprocessing.get_context("spawn").Process(
        target=_supervise, args=(CheckSettings(out=out, **values), steps)
    )
    process.start()
    process.join()
    assert process.exitcode == 0
    report: dict[str, Any] = json.loads((out / JSON_FILE).read_text())
    return report


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["status"] for each in report["steps"]}


def test_a_step_that_goes_wrong_takes_neither_the_next_nor_what_it_found_along(
    tmp_path: Path,
) -> None:
    names = ("fails", "breaks", "has_problems", "dies", "finds_no_gpu", "passes")
    report = run(tmp_path, *map(step, names))
    assert statuses(report) == {
        "fails": "failed",
        "breaks": "failed",
        "has_problems": "failed",
        "dies": "failed",
        "finds_no_gpu": "no GPU",
        "passes": "passed",
    }
    assert report["exit_code"] == 1
    reasons = {each["name"]: each["reason"] for each in report["steps"]}
    assert reasons == {
        "fails": "the server did not start",
        "breaks": "KeyError: 'missing'",
        "has_problems": "one label differs",
        "dies": "its process ended with code -11",
        "finds_no_gpu": "NVML tells of no GPU",
        "passes": "",
    }
    for each in report["steps"]:
        assert each["facts"] == {"device": "cpu"}
        assert each["tables"][0]["rows"] == [["one", 1.5]]
    broken = report["steps"][1]["log"]
    assert any("made_up.py" in line for line in broken), "where the mistake is"


def test_a_step_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    report = run(tmp_path, step("hangs"), step("passes"), step("passes"), budget_s=4800)
    hung, after, _ = report["steps"]
    assert (hung["status"], hung["reason"]) == ("timed out", "it took over 600 s: it was ended")
    pids = [int(pid) for pid in hung["facts"]["processes"].split()]
    assert len(pids) == 3
    assert not [pid for pid in pids if running(pid)]
    assert hung["tables"][0]["rows"] == [["one", 1.5]]
    assert after["status"] == "passed"
    assert report["exit_code"] == 1


def test_when_the_budget_is_over_what_is_left_is_named_and_the_last_step_runs(
    tmp_path: Path,
) -> None:
    steps = (step("hangs"), step("breaks"), step("passes"))
    report = run(tmp_path, *steps)
    assert statuses(report) == {"hangs": "timed out", "breaks": "left out", "passes": "passed"}
    assert report["steps"][1]["reason"] == "the budget of 480 s is over"
    assert report["exit_code"] == 1


def test_a_stop_ends_the_step_under_way_and_leaves_out_the_others(tmp_path: Path) -> None:
    report = run(tmp_path, step("asks_for_a_stop"), step("passes"))
    assert statuses(report) == {"asks_for_a_stop": "timed out", "passes": "left out"}
    assert report["steps"][0]["reason"] == "a stop was asked for: it was ended"
    assert report["steps"][0]["facts"] == {"device": "cpu"}


def test_what_needs_cuda_is_refused_on_a_cpu_in_words(tmp_path: Path) -> None:
    report = run(tmp_path, step("breaks", needs_cuda=True), step("passes"))
    refused = report["steps"][0]
    assert (refused["status"], refused["reason"]) == ("no GPU", "it needs a GPU, and DEVICE is cpu")
    assert report["exit_code"] == 3


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([Status.PASSED], 0),
        ([Status.PASSED, Status.NO_GPU], 3),
        ([Status.NO_GPU, Status.FAILED], 1),
        ([Status.PASSED, Status.TIMED_OUT], 1),
        ([Status.PASSED, Status.LEFT_OUT], 1),
    ],
)
def test_only_a_check_whose_steps_all_passed_ends_with_0(found: list[Status], code: int) -> None:
    results = [StepResult("0", "name", "title", status, "") for status in found]
    assert exit_code(results) == code


def test_the_results_are_on_disk_while_the_next_step_runs(tmp_path: Path) -> None:
    report = run(tmp_path, step("passes"), step("reads_the_report"))
    assert statuses(report) == {"passes": "passed", "reads_the_report": "passed"}
