"""The results of a run: everything that the report shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loadtests.load.request_log import Outcome
from loadtests.report.machine import Shares
from loadtests.report.metrics import Split
from loadtests.report.objectives import LoadLevel, ObjectiveResult


@dataclass(frozen=True)
class Interval:
    """A short span of a run.

    Attributes:
        second: When it began, counted from the end of the warm-up.
        users: Callers of a closed loop.
        offered: Requests a second that were due.
        goodput: Right answers a second.
        failed: Failed requests a second.
        quantiles: Milliseconds, of the requests that were due in it.
        batch: Mean batch of each part of the model.
        split: Where the time of a request went.
        processors: Processors that were busy.
        server_bytes: The server's memory at its end; 0 where it cannot be seen.
    """

    second: float
    users: int
    offered: float
    goodput: float
    failed: float
    quantiles: dict[str, float]
    batch: dict[str, float]
    split: Split
    processors: Shares
    server_bytes: float


@dataclass(frozen=True)
class Part:
    """What was measured in one part of a run: a phase of a spike, a third of a soak."""

    name: str
    seconds: float
    offered: float
    goodput: float
    failed: int
    quantiles: dict[str, float]
    server_bytes: float


@dataclass(frozen=True)
class Result:
    """A run, summed up. Times without a unit in their name are seconds.

    Attributes:
        seconds: How long was measured.
        sent: Requests of the whole run.
        requests: Requests that were due in the measured time.
        outcomes: How many of them ended in which way.
        warm_up_outcomes: The same of the warm-up, which counts for nothing else.
        goodput: Right answers a second.
        goodput_spread: Lowest, median and highest of the intervals' goodput.
        quantiles: Milliseconds, counted from when requests were due.
        lateness: p50, p99 and most milliseconds by which requests were sent too late.
        batch: Mean batch of each part of the model.
        split: Where the time of a request went.
        processors: Processors that were busy.
        energy: Joules an inference by source; empty where the machine cannot tell.
        intervals: The run over time, warm-up included.
        levels: The steps, or the whole run as one.
        knee: Of the steps; None for other shapes, and where goodput still grew.
        parts: The phases of a spike, the thirds of a soak.
        recovery: Seconds from the end of a spike until the latency was back to normal; None if
            it never was.
        judged: The level that the objectives were judged at.
        verdicts: Whether each objective was met.
    """

    seconds: float
    sent: int
    requests: int
    outcomes: dict[str, int]
    warm_up_outcomes: dict[str, int]
    goodput: float
    goodput_spread: tuple[float, float, float]
    quantiles: dict[str, float]
    lateness: dict[str, float]
    batch: dict[str, float]
    split: Split
    processors: Shares
    energy: dict[str, float]
    intervals: list[Interval]
    levels: list[LoadLevel]
    knee: LoadLevel | None
    parts: list[Part]
    recovery: float | None
    judged: LoadLevel
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


def to_plain(value: Any) -> Any:
    """The same for JSON, which has no NaN: where nothing was measured stands null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    return value


def result_as_dict(result: Result) -> dict[str, Any]:
    """All fields, for JSON."""
    plain: dict[str, Any] = to_plain(asdict(result))
    return {**plain, "failed": result.failed, "wrong": result.wrong}
