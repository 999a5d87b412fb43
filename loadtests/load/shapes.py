"""How a load develops: arrivals of an open loop, and growing steps of a closed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtests.load.request_log import RequestLog, due_between, ended_between, quantiles, right
from loadtests.load.settings import SPIKE_FACTOR, LoadSettings, Shape
from loadtests.report.objectives import LoadLevel

SPIKE_FROM, SPIKE_UNTIL = 0.4, 0.6
"""The part of the measured time in which the spike lies."""
GROWTH = 1.05
"""A step with less than this many times the best goodput before it gained nothing."""
PATIENCE = 2
"""Steps in a row that gain nothing before the load stops growing; one may be bad luck."""
KNEE = 0.9
"""The knee is the first step with this part of the best goodput."""
SETTLE = 0.25
"""The first part of a step, in which earlier requests are still answered."""
MIN_STEP_SECONDS = 2


@dataclass(frozen=True)
class Phase:
    """A time of one rate."""

    name: str  # as reports call it
    seconds: float
    rate: float  # requests a second that arrive


def phases(settings: LoadSettings) -> list[Phase]:
    """The phases of an open loop, the warm-up first."""
    warm_up = Phase("warm-up", settings.warm_up, settings.rate)
    if settings.shape is not Shape.SPIKE:
        return [warm_up, Phase(settings.shape.value, settings.duration, settings.rate)]
    spike = settings.duration * (SPIKE_UNTIL - SPIKE_FROM)
    return [
        warm_up,
        Phase("before", settings.duration * SPIKE_FROM, settings.rate),
        Phase("spike", spike, settings.rate * SPIKE_FACTOR),
        Phase("after", settings.duration * (1 - SPIKE_UNTIL), settings.rate),
    ]


def arrivals(
    phases: Sequence[Phase], seed: int, process: int = 0, processes: int = 1
) -> npt.NDArray[np.float64]:
    """Draws the arrivals at one of several processes, numbered from 0, before the load begins.

    Poisson processes add up to one of the sum of their rates, so each process draws its own.

    Returns:
        FP64 [arrivals], seconds from the start, ascending.
    """
    times = np.cumsum([0.0, *(phase.seconds for phase in phases)])
    expected = np.cumsum([0.0, *(phase.seconds * phase.rate / processes for phase in phases)])
    rng = np.random.default_rng([seed, process])
    # Arrivals of rate 1, on an axis that counts expected arrivals and not seconds.
    enough = int(expected[-1] + 10 * np.sqrt(expected[-1]) + 20)
    counted = np.cumsum(rng.exponential(size=enough))
    return np.interp(counted[counted < expected[-1]], expected, times)


def user_levels(max_users: int) -> list[int]:
    """1, 2, 4, ... and at last `max_users`."""
    levels = [1]
    while levels[-1] * 2 < max_users:
        levels.append(levels[-1] * 2)
    return levels if max_users == 1 else [*levels, max_users]


def step_seconds(duration: float, steps: int) -> int:
    """The length of each of so many steps; whole seconds, as Locust's shapes count."""
    return max(MIN_STEP_SECONDS, int(duration / steps))


def measure_level(log: RequestLog, users: int, start: float, end: float) -> LoadLevel:
    """What one step measured, without the time in which it settled."""
    settled = start + (end - start) * SETTLE
    good = len(right(ended_between(log, settled, end)))
    p99 = quantiles(due_between(log, settled, end))["p99"]
    return LoadLevel(users, good / (end - settled), p99)


def stopped_growing(levels: Sequence[LoadLevel]) -> bool:
    """Whether the last steps gained nothing over the best before them."""
    if len(levels) <= PATIENCE:
        return False
    best = max(level.goodput for level in levels[:-PATIENCE])
    return all(level.goodput < best * GROWTH for level in levels[-PATIENCE:])


def knee(levels: Sequence[LoadLevel]) -> LoadLevel | None:
    """The fewest callers that get nearly the best goodput; more of them only wait longer."""
    if not stopped_growing(levels):  # so that the knee lies further on
        return None
    best = max(level.goodput for level in levels)
    return next((level for level in levels if level.goodput >= best * KNEE), None)
