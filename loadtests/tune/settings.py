"""What is to be found and how long that may take, checked where it is written."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator, model_validator
from typing_extensions import Self

from loadtests.load.errors import SettingsError
from loadtests.load.run import ROOT
from loadtests.load.settings import Protocol
from loadtests.load.workload import workloads
from loadtests.tune.results import RateLevel, Score
from server.environment import EnvironmentSettings

_LOST_MS = 30_000.0
"""What the p99 of a server that does not keep up counts as: it would only grow."""


class Objective(EnvironmentSettings):
    """Most throughput within a p99, or least p99 at a rate; one of the two is given."""

    error = SettingsError

    p99_ms: float | None = Field(default=None, ge=0.1, le=100_000)  # the most milliseconds
    rate: float | None = Field(default=None, ge=0.1, le=100_000)  # requests a second

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.p99_ms is None) == (self.rate is None):
            given = "neither P99_MS nor RATE is set"
            raise ValueError(
                f"{given if self.rate is None else 'P99_MS and RATE are both set'}: give P99_MS "
                "for the most throughput within that many milliseconds, or RATE for the least "
                "latency at that many requests a second"
            )
        return self

    @property
    def word(self) -> str:
        """As it is written on the command line."""
        return f"P99_MS={self.p99_ms:g}" if self.rate is None else f"RATE={self.rate:g}"

    @property
    def sentence(self) -> str:
        """In words."""
        if self.rate is None:
            return f"most throughput with p99 under {self.p99_ms:g} ms"
        return f"least latency (p99) at {self.rate:g} requests a second"

    def holds(self, level: RateLevel) -> bool:
        """Whether a level is one that callers could be promised."""
        if level.failed or level.falls_behind:
            return False
        return self.p99_ms is None or level.p99 <= self.p99_ms

    def value(self, score: Score) -> float:
        """What is compared, in its unit: requests a second, or milliseconds."""
        return score.reach if self.rate is None else score.level.p99

    def goodness(self, score: Score) -> float:
        """The larger the better; a difference of 0.01 is about 1%."""
        if self.rate is None:
            return math.log(max(score.reach, 1e-3))
        if not score.met:
            return -math.log(_LOST_MS * self.rate / max(min(score.reach, self.rate), 1e-3))
        # Equal p99s are told apart by p50.
        return -math.log(score.level.p99) - 1e-3 * math.log(score.level.p50)

    def shown(self, score: Score) -> str:
        """A score in a few words."""
        level = score.level
        if score.gave_up:
            return f"cannot hold {level.rate:.0f} a second (p99 {level.p99:.1f} ms)"
        missed = "" if score.met else ", missed"
        if self.rate is None:
            return f"{level.rate:.0f} a second at p99 {level.p99:.1f} ms{missed}"
        return f"p99 {level.p99:.1f} ms, p50 {level.p50:.1f} ms at {level.rate:g} a second{missed}"


class TuneSettings(Objective):
    """One search: its objective, and how that is searched for."""

    model: str  # what is tuned; of an ensemble all parts together
    protocol: Protocol = Protocol.HTTP
    budget_s: int = Field(default=1800, ge=20, le=7 * 86_400)  # stopped runs included
    confirm_s: int = Field(default=120, ge=0, le=86_400)  # after the budget; 0 leaves it out
    seed: int = Field(default=0, ge=0, le=2**31)  # of inputs, arrivals and the search
    measure_s: int = Field(default=3, ge=2, le=600)  # Locust looks once a second
    inputs: int = Field(default=300, ge=1, le=10_000)
    model_repository: Path = ROOT / "model_repository"
    state: Path = ROOT / ".run" / "tune"  # where trials are kept, so that a search can go on

    @field_validator("model")
    @classmethod
    def _has_inputs(cls, model: str) -> str:
        if model not in workloads():
            raise ValueError(f"one of {', '.join(workloads())}")
        return model

    @field_validator("model_repository")
    @classmethod
    def _holds_model(cls, folder: Path, others: ValidationInfo) -> Path:
        model = others.data.get("model", "")
        if not (folder / model).is_dir():
            raise ValueError(f"a folder that holds {model}")
        return folder

    @model_validator(mode="after")
    def _fits_protocol(self) -> Self:
        if self.protocol is Protocol.HTTP_JSON and not workloads()[self.model].fits_json:
            raise ValueError(
                f"PROTOCOL is 'http-json': the inputs of {self.model} are bytes that JSON cannot "
                "carry; it has to be http, grpc, grpc-stream or grpc-shm"
            )
        return self

    def command(self) -> str:
        """The command that repeats the search."""
        return (
            f"make tune MODEL={self.model} {self.word} PROTOCOL={self.protocol.value} "
            f"BUDGET_S={self.budget_s} CONFIRM_S={self.confirm_s} SEED={self.seed} "
            f"MEASURE_S={self.measure_s} INPUTS={self.inputs}"
        )
