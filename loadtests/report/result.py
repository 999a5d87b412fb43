"""The results of a run: everything that the report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from loadtests.load.request_log import Outcome
from loadtests.report.machine import Shares
from loadtests.report.metrics import Split
from loadtests.report.objectives import LoadLevel, ObjectiveResult


@dataclass(frozen=True)
class Interval:
    """A short span of a run."""

    second: float  # when it began, counted from the end of the warm-up
    users: int  # callers of a closed loop
    offered: float  # requests a second that were due
    goodput: float  # right answers a second
    failed: float  # failed requests a second
    quantiles: dict[str, float]  # milliseconds, of the requests that were due in it
    batch: dict[str, float]  # mean of each part of the model
    split: Split
    processors: Shares
    server_bytes: float  # the server's memory at its end; 0 where it cannot be seen


@dataclass(frozen=True)
class Part:
    """A phase of a spike or a third of a soak; units as in `Interval`, `failed` is a count."""

    name: str
    seconds: float
    offered: float
    goodput: float
    failed: int
    quantiles: dict[str, float]
    server_bytes: float


@dataclass(frozen=True)
class Result:
    """A run, summed up."""

    seconds: float  # how long was measured
    sent: int  # requests of the whole run
    requests: int  # those that were due in the measured time
    outcomes: dict[str, int]  # how many of these ended in which way
    warm_up_outcomes: dict[str, int]  # the warm-up counts for nothing else
    goodput: float  # right answers a second
    goodput_spread: tuple[float, float, float]  # lowest, median, highest of the intervals
    quantiles: dict[str, float]  # milliseconds, counted from when requests were due
    lateness: dict[str, float]  # p50, p99, most milliseconds by which requests were sent late
    batch: dict[str, float]  # mean of each part of the model
    split: Split
    processors: Shares
    energy: dict[str, float]  # joules an inference by source, as far as the machine can tell
    intervals: list[Interval]  # of the warm-up, too
    levels: list[LoadLevel]  # the steps, or the whole run as one
    knee: LoadLevel | None  # of steps; None where goodput still grew
    parts: list[Part]
    recovery: float | None  # seconds from a spike until latency was normal; None if never
    judged: LoadLevel  # the level that the objectives were judged at
    verdicts: list[ObjectiveResult]

    @property
    def failed(self) -> int:
        """Measured requests that brought no right answer."""
        return self.requests - self.outcomes.get(Outcome.RIGHT.title, 0)

    @property
    def wrong(self) -> int:
        """Wrong answers, those of the warm-up included."""
        title = Outcome.WRONG.title
        return self.outcomes.get(title, 0) + self.warm_up_outcomes.get(title, 0)


def to_plain(value: object) -> Any:
    """Converts dataclasses and all in them for JSON; what was not measured, NaN, is null."""
    return to_jsonable_python(value, inf_nan_mode="null")


def result_as_dict(result: Result) -> dict[str, Any]:
    """All fields, for JSON."""
    return {**to_plain(result), "failed": result.failed, "wrong": result.wrong}
