"""What is to be found and how long it may take, checked where it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from loadtests.load.errors import SettingsError
from loadtests.load.run import ROOT
from loadtests.load.settings import Protocol
from loadtests.load.workload import WORKLOADS
from loadtests.tune.objective import Objective


@dataclass(frozen=True)
class TuneSettings:
    """One search.

    Attributes:
        model: What is tuned; of an ensemble all parts together.
        objective: What is to be reached.
        protocol: How it is asked.
        budget_s: Seconds for search and finals, those of an earlier run that was stopped
            included.
        confirm_s: Seconds of the last run, which shows that the winner holds; it comes after
            the budget. 0 leaves it out.
        seed: Of inputs, arrivals and of the search.
        seconds: That a measurement at one rate takes, without its warm-up.
        inputs: How many different test inputs are drawn from.
        repository: The folder of models.
        state: Where measurements are kept, so that a search can go on.
    """

    model: str
    objective: Objective
    protocol: Protocol = Protocol.HTTP
    budget_s: int = 1800
    confirm_s: int = 120
    seed: int = 0
    seconds: int = 3
    inputs: int = 300
    repository: Path = field(default=ROOT / "model_repository")
    state: Path = field(default=ROOT / ".run" / "tune")

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            SettingsError: It names the setting, its value and what is allowed.
        """
        if self.model not in WORKLOADS:
            raise SettingsError(
                f"MODEL is {self.model!r}: it has to be one of {', '.join(WORKLOADS)}"
            )
        if self.protocol is Protocol.HTTP_JSON and not WORKLOADS[self.model].fits_json:
            raise SettingsError(
                f"PROTOCOL is 'http-json': the inputs of {self.model} are bytes that JSON cannot "
                "carry; it has to be http, grpc, grpc-stream or grpc-shm"
            )
        for name, value, lowest, highest in (
            ("BUDGET_S", self.budget_s, 20, 7 * 86_400),
            ("CONFIRM_S", self.confirm_s, 0, 86_400),
            ("SEED", self.seed, 0, 2**31),
            ("SECONDS", self.seconds, 2, 600),  # Locust looks once a second
            ("INPUTS", self.inputs, 1, 10_000),
        ):
            if not lowest <= value <= highest:
                raise SettingsError(f"{name} is {value}: it has to be from {lowest} to {highest}")
        if not (self.repository / self.model).is_dir():
            raise SettingsError(
                f"MODEL_REPOSITORY is {str(self.repository)!r}: it has to be a folder that holds "
                f"{self.model}"
            )

    def command(self) -> str:
        """The command that repeats the search."""
        words = [
            "make tune",
            f"MODEL={self.model}",
            self.objective.word,
            f"PROTOCOL={self.protocol.value}",
            f"BUDGET_S={self.budget_s}",
            f"CONFIRM_S={self.confirm_s}",
            f"SEED={self.seed}",
            f"SECONDS={self.seconds}",
            f"INPUTS={self.inputs}",
        ]
        return " ".join(words)
