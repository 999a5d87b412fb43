"""The settings of a check, and the steps that it has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from loadtests.load.errors import SettingsError
from server.environment import EnvironmentSettings

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".run" / "gpu-check" / "kept"
"""Where the answers of the CPU build are kept; the folder goes into a bundle as it is."""
BUDGET_SECONDS = 480
"""Eight minutes, which with all that is around them makes ten."""
Device = Literal["gpu", "cpu"]


@dataclass(frozen=True)
class Step:
    """One step of the check.

    Attributes:
        number: Where it stands in the list of docs/gpu.md.
        name: By which `ONLY` chooses it.
        title: What it shows.
        run: The function, as `module:name`; it is imported in the step's own process.
        seconds: The longest that it may take, where the whole check has `BUDGET_SECONDS`.
        needs_cuda: Whether there is nothing of it to run on a CPU.
        opens_sessions: Whether it needs the CUDA libraries in its own process.
    """

    number: str
    name: str
    title: str
    run: str
    seconds: int
    needs_cuda: bool = False
    opens_sessions: bool = False


REPORT = "report"
_STEPS = "loadtests.gpu_check.steps"
STEPS = (
    Step("1", "machine", "The machine", f"{_STEPS}.machine:check", 20, opens_sessions=True),
    Step("2", "providers", "Every instance on its device", f"{_STEPS}.providers:check", 60),
    Step("3", "answers", "The answers of the CPU build", f"{_STEPS}.answers:check", 100),
    Step("4", "conformance", "The conformance suite", f"{_STEPS}.conformance:check", 120),
    Step("5a", "load", "Load: callers, batches, time", f"{_STEPS}.load:check", 100),
    Step(
        "5b",
        "packing",
        "Packed against padded",
        f"{_STEPS}.packing:packed_or_padded",
        60,
        opens_sessions=True,
    ),
    Step(
        "5c",
        "attention",
        "PackedMultiHeadAttention against the gathered graph",
        f"{_STEPS}.packing:packed_attention",
        40,
        opens_sessions=True,
    ),
    Step("5d", "scaling", "Instances and tokenizers", f"{_STEPS}.scaling:check", 100),
    Step("6", "energy", "Joules an inference", f"{_STEPS}.energy:check", 60, needs_cuda=True),
    Step("7", REPORT, "The report", "loadtests.gpu_check.report:check", 20),
)


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(each) for each in text.split(","))
    except ValueError:
        counts = ()
    if not counts or not all(1 <= each <= 10_000 for each in counts):
        raise ValueError("whole numbers from 1 to 10000 with commas between, such as 1,8,64")
    return counts


class CheckSettings(EnvironmentSettings):
    """One check; each field is the variable of the same name, and an option.

    Raises:
        SettingsError: It names the setting, its value and what is allowed.
    """

    error: ClassVar[type[Exception]] = SettingsError

    device: Annotated[
        Device, Field(description="gpu, or cpu for a rehearsal without what needs CUDA.")
    ] = "gpu"
    out: Annotated[Path, Field(description="The folder of the results.")] = Path(
        "reports/gpu-check"
    )
    kept: Annotated[Path, Field(description="The folder with the answers of the CPU build.")] = KEPT
    only: Annotated[
        str, Field(description="The names of some steps, with commas between; empty for all.")
    ] = ""
    budget_s: Annotated[
        int, Field(ge=1, le=86_400, description="Seconds that all steps together may take.")
    ] = BUDGET_SECONDS
    callers: Annotated[str, Field(description="Numbers of callers under load.")] = "1,8,64,256"
    rows: Annotated[str, Field(description="Rows of a batch in one process.")] = "32,128,512"
    measure_s: Annotated[int, Field(ge=2, le=600, description="Seconds of each measurement.")] = 3
    inputs: Annotated[
        int, Field(ge=0, le=10_000, description="Inputs of a model that are compared. 0: all.")
    ] = 0
    conformance: Annotated[
        str, Field(description="What of the conformance suite is run, as pytest takes it.")
    ] = "tests/conformance"

    @field_validator("only")
    @classmethod
    def _check_only(cls, only: str) -> str:
        known = [step.name for step in STEPS]
        if not {name.strip() for name in only.split(",")} <= {*known, ""}:
            raise ValueError(f"names with commas between, of {', '.join(known)}")
        return only

    @field_validator("callers", "rows")
    @classmethod
    def _check_counts(cls, text: str) -> str:
        _counts(text)
        return text

    @field_validator("out", "kept")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @property
    def all_callers(self) -> tuple[int, ...]:
        """The numbers of callers."""
        return _counts(self.callers)

    @property
    def all_rows(self) -> tuple[int, ...]:
        """The numbers of rows."""
        return _counts(self.rows)

    @property
    def many(self) -> int:
        """The callers where there are many, but not the most."""
        return sorted(self.all_callers)[-2:][0]

    @property
    def processes(self) -> int:
        """Those that make load, where there are callers for them; the server has the rest."""
        return max(1, min(8, len(os.sched_getaffinity(0)) // 4))

    def chosen(self) -> tuple[Step, ...]:
        """The steps that are to run, in order; the report is always written."""
        names = {name.strip() for name in self.only.split(",")} - {""}
        return tuple(step for step in STEPS if not names or step.name in {*names, REPORT})

    def limit(self, step: Step) -> float:
        """The seconds that a step may take; a longer budget gives each of them more."""
        return step.seconds * max(1.0, self.budget_s / BUDGET_SECONDS)
