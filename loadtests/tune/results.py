"""What was measured: of a candidate at one rate, of a candidate, and of one trial of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import stats  # type: ignore[import-untyped]

from loadtests.load.request_log import RequestLog, quantiles, right, waited
from loadtests.tune.space import Candidate

BEHIND = 0.04
"""Seconds of latency gained in each second of load from which a server falls behind: its queue
grows, and a longer run would only show longer waits."""
_MAX_COMPARED = 300
"""Samples of which a trend is told."""
_Z = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class RateLevel:
    """What was measured at one rate."""

    rate: float  # requests a second that arrived
    seconds: float  # how long was measured, all runs together
    requests: int  # how many were due in that time
    failed: int  # how many of these had no right answer
    goodput: float  # right answers a second
    p50: float  # milliseconds, from when requests were due
    p99: float  # the same
    p99_low: float  # the lowest p99 that is still likely, given so many requests
    p99_high: float  # the highest
    growth: float  # seconds of latency gained in each second of load
    server: float = 0.0  # processors that the server kept busy
    client: float = 0.0  # the same of what makes and watches the load
    others: float = 0.0  # the same of everything else
    batch: dict[str, float] = field(default_factory=dict)  # mean batch of each part of the model
    cut: bool = False  # whether the load was ended early, since there was no hope

    @property
    def falls_behind(self) -> bool:
        """Whether more arrives than is answered."""
        return self.cut or self.growth > BEHIND


@dataclass(frozen=True)
class Score:
    """What a candidate came to."""

    # At the highest rate that held, or at the rate of the objective; what came closest to it
    # where it was missed.
    level: RateLevel
    met: bool
    # Requests a second that it can answer; an estimate where it was given up before its limit.
    reach: float
    levels: tuple[RateLevel, ...] = ()
    gave_up: bool = False  # whether all that was found is that others are better


@dataclass(frozen=True)
class Trial:
    """One candidate, measured once."""

    candidate: Candidate
    score: Score | None  # what it came to; None where the measurement was broken
    broken: str = ""  # why it was; empty where it was not
    seconds: float = 0.0  # how long it took, including its server's start
    round: int = 0  # of the finals, from 1; 0 in the search


def p99_interval(latencies: npt.ArrayLike) -> tuple[float, float, float]:
    """p99 and where it may lie, from how many requests were slower.

    Requests of one moment share their fate, so the true interval is wider.

    Returns:
        p99, and the order statistics between which it lies in nine of ten cases.
    """
    ordered = np.sort(np.asarray(latencies, np.float64))
    count = len(ordered)
    spread = _Z * math.sqrt(count * 0.99 * 0.01)
    places = (count * 0.99, count * 0.99 - spread, count * 0.99 + spread)
    p99, low, high = (float(ordered[min(count, max(1, math.ceil(at))) - 1]) for at in places)
    return p99, low, high


def level_of(rate: float, seconds: float, runs: Sequence[RequestLog], goodput: float) -> RateLevel:
    """Sums up one or more runs at the same rate, by the requests that were due in each."""
    samples = np.concatenate(runs)
    latencies = waited(samples)
    p99, low, high = p99_interval(latencies) if len(latencies) else (math.inf,) * 3
    return RateLevel(
        rate=rate,
        seconds=seconds,
        requests=len(samples),
        failed=len(samples) - len(right(samples)),
        goodput=goodput,
        p50=quantiles(samples)["p50"] if len(latencies) else math.inf,
        p99=p99,
        p99_low=low,
        p99_high=high,
        growth=_growth_of(runs),
    )


def _growth_of(runs: Sequence[RequestLog]) -> float:
    """Seconds of latency gained in each second of load, the median of the runs.

    By the slope of Theil and Sen, which a machine that stands still for up to a quarter of a run
    does not move: a queue that grows does so all the time.
    """
    slopes = [_slope(each["intended"], each["latency"]) for each in runs if len(each) > 2]
    return float(np.median(slopes)) if slopes else 0.0


def _slope(seconds: npt.NDArray[np.float64], latencies: npt.NDArray[np.float32]) -> float:
    # All pairs are compared: of some hundred samples, spread evenly, that is enough.
    some = np.unique(np.linspace(0, len(seconds) - 1, _MAX_COMPARED).astype(int))
    return float(stats.theilslopes(latencies[some], seconds[some]).slope)
