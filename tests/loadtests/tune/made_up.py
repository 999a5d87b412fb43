"""Levels, scores and spaces that need no server."""

import math

from loadtests.tune.candidate import Candidate
from loadtests.tune.finals import Finalist
from loadtests.tune.level import Level
from loadtests.tune.objective import Score
from loadtests.tune.space import Space

SHIPPED = Candidate("model.int8.onnx", 32, 0, 1, 2, 1)
THROUGHPUT_OF = {"model.int8.onnx": 200.0, "model.onnx": 120.0}


def level(rate: float, p99: float = 10.0, *, failed: int = 0, growth: float = 0.0) -> Level:
    """A level of load."""
    return Level(rate, 3.0, 300, failed, rate, p99 / 2, p99, p99, p99, growth)


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

    def attempt(self, rate: float) -> Level:
        """Measures at a rate, by the formula of a queue with one server."""
        self.tried.append(rate)
        if rate >= self.capacity:
            answered = self.capacity
            return Level(
                rate, 3, 300, 0, answered, 500, 1000, 1000, 1000, rate / answered - 1 + 0.05
            )
        p99 = -math.log(0.01) * self.service_ms / (1 - rate / self.capacity)
        return level(rate, p99)
