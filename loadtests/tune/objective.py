"""The two things that can be asked for, and which of two scores is better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadtests.load.errors import SettingsError
from loadtests.tune.level import Level

_LOST_MS = 30_000.0
"""What the p99 of a server counts as that does not keep up: it would only grow."""


@dataclass(frozen=True)
class Score:
    """What a candidate came to.

    Attributes:
        level: What was measured: at the highest rate that held, or at the rate that was asked
            for. Where the objective was missed, the level that came closest.
        met: Whether the objective was reached.
        reach: Requests a second that it is taken to be able to answer; only an estimate where
            it gave up before its limit was found.
        levels: Everything that was tried.
        gave_up: Whether it was only found that others are better.
    """

    level: Level
    met: bool
    reach: float
    levels: tuple[Level, ...] = ()
    gave_up: bool = False


@dataclass(frozen=True)
class Objective:
    """Most throughput within a p99, or least p99 at a rate; one of the two is given.

    Attributes:
        p99_ms: The most milliseconds that 99 of 100 requests may take.
        rate: Requests a second.
    """

    p99_ms: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        """Checks what was given.

        Raises:
            SettingsError: None or both were given, or a value cannot be used.
        """
        given = {"P99_MS": self.p99_ms, "RATE": self.rate}
        chosen = {name: value for name, value in given.items() if value is not None}
        if len(chosen) != 1:
            what = "P99_MS and RATE are both set" if chosen else "neither P99_MS nor RATE is set"
            raise SettingsError(
                f"{what}: give P99_MS for the most throughput within that many milliseconds, or "
                "RATE for the least latency at that many requests a second"
            )
        ((name, value),) = chosen.items()
        if not 0.1 <= value <= 100_000:
            raise SettingsError(f"{name} is {value:g}: it has to be from 0.1 to 100000")

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

    def holds(self, level: Level) -> bool:
        """Whether a level is one that callers could be promised."""
        if level.failed or level.falls_behind:
            return False
        return self.p99_ms is None or level.p99 <= self.p99_ms

    def value(self, score: Score) -> float:
        """What is compared, in its unit: requests a second, or milliseconds."""
        return score.reach if self.rate is None else score.level.p99

    def goodness(self, score: Score) -> float:
        """The larger the better; a difference of 0.01 is one of about 1%."""
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
