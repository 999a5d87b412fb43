"""The objectives of a load test, and whether it met them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.load.errors import SettingsError


@dataclass(frozen=True)
class Failures:
    """How many requests may fail: `5` is a count, `0.5%` a share of all requests."""

    most: float
    is_share: bool = False

    @classmethod
    def parse(cls, text: str) -> Failures:
        """Reads the value of MAX_FAIL.

        Raises:
            SettingsError: It is neither a whole number nor a percentage.
        """
        try:
            if text.endswith("%"):
                share = float(text[:-1]) / 100
                if 0 <= share <= 1:
                    return cls(share, is_share=True)
            elif int(text) >= 0:
                return cls(int(text))
        except ValueError:
            pass
        raise SettingsError(
            f"MAX_FAIL is {text!r}: it has to be a number of requests such as 0, "
            "or a share of them such as 0.5%"
        )

    def allow(self, failed: int, requests: int) -> bool:
        """Whether that many of the requests may fail."""
        return failed <= (self.most * requests if self.is_share else self.most)

    def __str__(self) -> str:
        return f"{self.most * 100:g}%" if self.is_share else f"{self.most:g}"


@dataclass(frozen=True)
class LoadLevel:
    """What was measured at one level of load."""

    users: int  # callers of a closed loop; 0 in an open one
    goodput: float  # right answers a second
    p99: float  # milliseconds; NaN where nothing was answered


@dataclass(frozen=True)
class ObjectiveResult:
    """An objective, and whether it was met."""

    name: str
    wanted: str
    measured: str
    met: bool


@dataclass(frozen=True)
class Objectives:
    """The objectives of a run; None means that there is none."""

    p99_ms: float | None = None  # upper limit
    min_rps: float | None = None  # lower limit of right answers a second
    max_fail: Failures | None = None  # for whatever reason

    def __post_init__(self) -> None:
        for name, value in (("P99_MS", self.p99_ms), ("MIN_RPS", self.min_rps)):
            if value is not None and not value > 0:
                raise SettingsError(f"{name} is {value:g}: it has to be above 0")

    def choose(self, levels: Sequence[LoadLevel]) -> LoadLevel:
        """The level that is judged: of those within P99_MS the one with the most goodput.

        A run of steps reaches its objectives if one of its steps does. Where no level is
        within P99_MS, the one with the lowest p99 is judged.
        """
        within = [level for level in levels if self.p99_ms is None or level.p99 <= self.p99_ms]
        if within:
            return max(within, key=lambda level: level.goodput)
        return min(levels, key=lambda level: (level.p99 != level.p99, level.p99))

    def judge(self, level: LoadLevel, failed: int, requests: int) -> list[ObjectiveResult]:
        """Compares each objective that was given with a level and with the whole run's requests."""
        results = []
        if self.p99_ms is not None:
            met = level.p99 <= self.p99_ms  # NaN, where nothing was answered, is not
            wanted, measured = f"at most {self.p99_ms:g} ms", f"{level.p99:.1f} ms"
            results.append(ObjectiveResult("P99_MS", wanted, measured, met))
        if self.min_rps is not None:
            met = level.goodput >= self.min_rps
            wanted, measured = (
                f"at least {self.min_rps:g} a second",
                f"{level.goodput:.1f} a second",
            )
            results.append(ObjectiveResult("MIN_RPS", wanted, measured, met))
        if self.max_fail is not None:
            met = requests > 0 and self.max_fail.allow(failed, requests)
            wanted, measured = f"at most {self.max_fail}", f"{failed} of {requests}"
            results.append(ObjectiveResult("MAX_FAIL", wanted, measured, met))
        return results
