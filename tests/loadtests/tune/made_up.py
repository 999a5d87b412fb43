"""Levels, scores, spaces and a machine that need no server."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import replace

from loadtests.tune.confirmation import Finalist
from loadtests.tune.measure import BrokenMeasurementError, StoppedError
from loadtests.tune.results import RateLevel, Score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Candidate, Space

SHIPPED = Candidate("model.int8.onnx", 32, 0, 1, 2, 1)
THROUGHPUT_OF = {"model.int8.onnx": 200.0, "model.onnx": 120.0}


def level(rate: float, p99: float = 10.0, *, failed: int = 0, growth: float = 0.0) -> RateLevel:
    """A level of load."""
    return RateLevel(rate, 3.0, 300, failed, rate, p99 / 2, p99, p99, p99, growth)


def score(value: float, *, met: bool = True, p99: float = 10.0) -> Score:
    """A score that reaches so many requests a second."""
    at = level(value, p99)
    return Score(at, met, value, (at,))


def space() -> Space:
    """Twelve candidates."""
    found = [
        Candidate(file, batch, 0, instances, 2 // instances, 1)
        for file in ("model.int8.onnx", "model.onnx")
        for batch in (1, 8, 32)
        for instances in (1, 2)
    ]
    return Space(tuple(sorted(found)), SHIPPED)


def finalist(candidate: Candidate, *values: float) -> Finalist:
    """One that came to these values in its rounds; 0 for a round that missed."""
    return Finalist(candidate, tuple(score(max(v, 1.0), met=v > 0) for v in values))


class Server:
    """Answers up to a rate; beyond it the queue grows."""

    def __init__(self, capacity: float, service_ms: float = 5.0) -> None:
        self.capacity = capacity
        self.service_ms = service_ms
        self.tried: list[float] = []

    def attempt(self, rate: float) -> RateLevel:
        """Measures at a rate, by the formula of a queue with one server."""
        self.tried.append(rate)
        if rate >= self.capacity:
            answered = self.capacity
            return RateLevel(
                rate, 3, 300, 0, answered, 500, 1000, 1000, 1000, rate / answered - 1 + 0.05
            )
        p99 = -math.log(0.01) * self.service_ms / (1 - rate / self.capacity)
        return level(rate, p99)


class Machine:
    """Stands where `Meter` does: candidates answer by the formula, and a clock counts for them.

    Args:
        settings: Of the search.
        stop_after: Ends with `StoppedError` after so many loads.
        broken: Candidates whose server dies.
        still: Numbers of loads, from 1, in which it stands still and answers far too late.
    """

    triton = "none"

    def __init__(
        self,
        settings: TuneSettings,
        *,
        stop_after: int = 10**9,
        broken: frozenset[Candidate] = frozenset(),
        still: Container[int] = (),
    ) -> None:
        self.settings = settings
        self.broken = broken
        self.still = still
        self.seconds = 0.0
        self.loads = 0
        self._stop_after = stop_after

    def clock(self) -> float:
        """Seconds that the loads would have taken."""
        return self.seconds

    @contextmanager
    def serving(self, candidate: Candidate) -> Iterator[Offered]:
        """A candidate that answers."""
        yield Offered(self, candidate)

    def load(self, seconds: float) -> None:
        """Counts a load."""
        self.seconds += seconds
        self.loads += 1
        if self.loads > self._stop_after:
            raise StoppedError("stopped")


class Offered:
    """Stands where `Served` does."""

    def __init__(self, machine: Machine, candidate: Candidate) -> None:
        self._machine = machine
        self._candidate = candidate
        factor = {1: 0.6, 8: 1.3, 32: 1.0}[candidate.max_batch_size]
        self._server = Server(factor * THROUGHPUT_OF[candidate.file], service_ms=2.0)

    def at(self, rate: float, *, seconds: int | None = None, hopeless_ms: float = 0.0) -> RateLevel:  # noqa: ARG002
        """One load."""
        self._machine.load(seconds or 5)
        if self._candidate in self._machine.broken:
            raise BrokenMeasurementError("the server died")
        level = self._server.attempt(rate)
        return replace(level, growth=1.0) if self._machine.loads in self._machine.still else level

    def capacity(self) -> float:
        """What it can do."""
        self._machine.load(4)
        return self._server.capacity
