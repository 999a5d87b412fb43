"""More and more callers until that gains nothing: when to stop, and where the knee was."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.load.request_log import Samples, due_between, ended_between, quantiles, right
from loadtests.report.objectives import LoadLevel

GROWTH = 1.05
"""A step that does not bring at least this many times the best before it gained nothing."""
PATIENCE = 2
"""Steps in a row that gain nothing before the load stops growing; one may be bad luck."""
KNEE = 0.9
"""The knee is the first step with this part of the best goodput."""
SETTLE = 0.25
"""The first part of a step, in which the callers before it are still answered."""
SHORTEST = 2
"""Seconds of a step."""


def user_levels(most: int) -> list[int]:
    """1, 2, 4, ... and at last `most`."""
    levels = [1]
    while levels[-1] * 2 < most:
        levels.append(levels[-1] * 2)
    return levels if most == 1 else [*levels, most]


def step_seconds(duration: float, steps: int) -> int:
    """How long each of so many steps lasts; whole seconds, as Locust's shapes count."""
    return max(SHORTEST, int(duration / steps))


def measure_level(samples: Samples, users: int, start: float, end: float) -> LoadLevel:
    """What one step measured, without the time in which it settled."""
    settled = start + (end - start) * SETTLE
    good = len(right(ended_between(samples, settled, end)))
    p99 = quantiles(due_between(samples, settled, end))["p99"]
    return LoadLevel(users, good / (end - settled), p99)


def stopped_growing(levels: Sequence[LoadLevel]) -> bool:
    """Whether the last steps gained nothing over the best before them."""
    if len(levels) <= PATIENCE:
        return False
    best = max(level.goodput for level in levels[:-PATIENCE])
    return all(level.goodput < best * GROWTH for level in levels[-PATIENCE:])


def knee(levels: Sequence[LoadLevel]) -> LoadLevel | None:
    """The fewest callers that get nearly the best goodput; more of them only wait longer.

    Returns:
        None where goodput still grew at the end, so that the knee lies further on.
    """
    if not stopped_growing(levels):
        return None
    best = max(level.goodput for level in levels)
    return next((level for level in levels if level.goodput >= best * KNEE), None)
