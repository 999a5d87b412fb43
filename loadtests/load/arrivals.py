"""When requests arrive in an open loop: a Poisson process, drawn before the load begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtests.load.settings import SPIKE_FACTOR, LoadSettings, Shape

SPIKE_FROM, SPIKE_UNTIL = 0.4, 0.6
"""Where in the measured time the spike lies."""


@dataclass(frozen=True)
class Phase:
    """A time of one rate.

    Attributes:
        name: As reports call it.
        seconds: How long it lasts.
        rate: Requests a second that arrive.
    """

    name: str
    seconds: float
    rate: float


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
    """Draws the arrivals of one of several processes.

    Poisson processes add up to one of the sum of their rates, so each process draws its own.

    Args:
        phases: In their order.
        seed: The same seed draws the same arrivals.
        process: Which process, from 0.
        processes: How many there are.

    Returns:
        Seconds from the start, ascending.
    """
    times = np.cumsum([0.0, *(phase.seconds for phase in phases)])
    expected = np.cumsum([0.0, *(phase.seconds * phase.rate / processes for phase in phases)])
    chance = np.random.default_rng([seed, process])
    # Arrivals of rate 1, on an axis that counts expected arrivals and not seconds.
    most = int(expected[-1] + 10 * np.sqrt(expected[-1]) + 20)
    counted = np.cumsum(chance.exponential(size=most))
    return np.interp(counted[counted < expected[-1]], expected, times)
