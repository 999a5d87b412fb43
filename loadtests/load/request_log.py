"""The log of all requests, in a form that processes can send to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

RequestLog = npt.NDArray[Any]
"""An array [requests] of `LOG_ENTRY`."""

LOG_ENTRY = np.dtype(
    [
        ("intended", "<f8"),  # when it was due, seconds since 1970
        ("lag", "<f4"),  # seconds from then until it was really sent
        ("latency", "<f4"),  # seconds from when it was due to its end
        ("outcome", "u1"),
    ]
)


class Outcome(IntEnum):
    """What became of a request."""

    RIGHT = 0
    WRONG = 1
    LATE = 2
    UNAVAILABLE = 3
    REFUSED = 4
    FAILED = 5

    @property
    def title(self) -> str:
        """As reports call it."""
        return _TITLES[self]


_TITLES = {
    Outcome.RIGHT: "right answer",
    Outcome.WRONG: "wrong answer",
    Outcome.LATE: "no answer in time",
    Outcome.UNAVAILABLE: "server unavailable",
    Outcome.REFUSED: "request refused",
    Outcome.FAILED: "server failed",
}


class Recorder:
    """Keeps the log of one process."""

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()  # how often each occurred, by its text
        self._rows: list[tuple[float, float, float, int]] = []

    def add(self, intended: float, lag: float, latency: float, outcome: Outcome) -> None:
        """Logs one request; times in seconds, `intended` since 1970."""
        self._rows.append((intended, lag, latency, int(outcome)))

    def take(self) -> RequestLog:
        """The log since the last call."""
        rows, self._rows = self._rows, []
        return np.array(rows, LOG_ENTRY)


def merge(parts: Sequence[RequestLog]) -> RequestLog:
    """The logs of all processes, by the time when they were due.

    Quantiles are taken of this, since those of several processes cannot be averaged.
    """
    merged = np.concatenate([np.empty(0, LOG_ENTRY), *parts])
    ordered: RequestLog = merged[np.argsort(merged["intended"], kind="stable")]
    return ordered


def due_between(log: RequestLog, start: float, end: float) -> RequestLog:
    """Those that were due from `start` until before `end`, whenever they ended."""
    return log[(log["intended"] >= start) & (log["intended"] < end)]


def ended_between(log: RequestLog, start: float, end: float) -> RequestLog:
    """Those that ended from `start` until before `end`."""
    ends = log["intended"] + log["latency"].astype(np.float64)
    return log[(ends >= start) & (ends < end)]


def right(log: RequestLog) -> RequestLog:
    """Those that were answered rightly."""
    kept: RequestLog = log[log["outcome"] == Outcome.RIGHT]
    return kept


def waited(log: RequestLog) -> npt.NDArray[np.float64]:
    """Latencies in milliseconds of those that were answered, or waited in vain.

    A request that ran into its timeout counts with the time that it waited. One that was
    refused at once took little time, but that is no answer, so it does not count.
    """
    kept = np.isin(log["outcome"], (Outcome.RIGHT, Outcome.WRONG, Outcome.LATE))
    seconds: npt.NDArray[np.float64] = log["latency"][kept].astype(np.float64)
    return seconds * 1e3


QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def quantiles(log: RequestLog) -> dict[str, float]:
    """Latency quantiles in milliseconds; NaN where nothing was answered."""
    latencies = waited(log)
    if not len(latencies):
        return dict.fromkeys(QUANTILES, float("nan"))
    # The smallest latency that so many requests did not exceed: one that was measured.
    found = np.quantile(latencies, list(QUANTILES.values()), method="inverted_cdf")
    return dict(zip(QUANTILES, found.tolist(), strict=True))
