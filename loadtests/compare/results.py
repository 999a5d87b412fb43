"""What was measured, and its arithmetic: medians, spread, ratios within a round, aims."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtests.load.errors import LoadTestError
from loadtests.report.result import to_plain

SCHEMA = 2
Spread = tuple[float, float, float]
"""The median, the lowest and the highest of the rounds."""
_COUNTS = ("requests", "failed", "wrong", "split")


@dataclass(frozen=True)
class Figure:
    """A figure that a comparison shows for each variant."""

    name: str  # its key in `Measurement.figures`
    heading: str  # the heading of its column, with the unit
    lower_is_better: bool = False  # whether an aim is an upper limit, rather than a lower one
    ranged: bool = False  # whether the lowest and the highest round are shown too
    brief: bool = True  # whether a terminal shows it, and not only the page


@dataclass(frozen=True)
class Measurement:
    """One measurement of one variant."""

    figures: dict[str, float]  # by name; what was not measured is missing
    requests: int = 0
    failed: int = 0  # those without a right answer, wrong ones included
    wrong: int = 0  # those with a wrong one, the warm-up's included
    split: dict[str, float] = field(default_factory=dict)  # ms by where they went, if known

    def plain(self) -> dict[str, Any]:
        """For JSON, where figures stand beside the counts."""
        return {**self.figures, **{name: getattr(self, name) for name in _COUNTS}}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Measurement:
        """Reads what `plain` wrote."""
        counts = {name: plain[name] for name in _COUNTS}
        figures = {name: value for name, value in plain.items() if name not in counts}
        return cls({name: value for name, value in figures.items() if value is not None}, **counts)


@dataclass(frozen=True)
class Variant:
    """A variant in all rounds."""

    group: str  # variants are compared with those of their group
    name: str
    rounds: tuple[Measurement, ...]

    def spread(self, figure: str) -> Spread:
        """A figure's median, lowest and highest round; NaN where a round has none."""
        values = [measured.figures.get(figure, math.nan) for measured in self.rounds]
        return spread_of(values)

    def median(self, figure: str) -> float:
        """The median of the rounds."""
        return self.spread(figure)[0]

    def total(self, count: str) -> int:
        """The sum of the rounds' `requests`, `failed` or `wrong`."""
        return sum(getattr(measured, count) for measured in self.rounds)


def spread_of(values: Sequence[float]) -> Spread:
    """The median, the lowest and the highest; NaN where one of them is."""
    if any(map(math.isnan, values)):
        return (math.nan,) * 3
    return statistics.median(values), min(values), max(values)


def ratios(variant: Variant, other: Variant, figure: str) -> Spread:
    """How many times the figure of another variant.

    Each round is divided by the same round of the other, since what else the machine did met
    both alike.

    Returns:
        NaN where a round of the other has none, or 0.
    """
    pairs = zip(variant.rounds, other.rounds, strict=True)
    values = [(a.figures.get(figure, math.nan), b.figures.get(figure, 0.0)) for a, b in pairs]
    return spread_of([a / b if b else math.nan for a, b in values])


def differences(variant: Variant, other: Variant, figure: str) -> Spread:
    """By how much a figure is larger than that of another variant, taken within each round.

    Returns:
        NaN where a round of either has none.
    """
    pairs = zip(variant.rounds, other.rounds, strict=True)
    values = [(a.figures.get(figure, math.nan), b.figures.get(figure, math.nan)) for a, b in pairs]
    return spread_of([a - b for a, b in values])


@dataclass(frozen=True)
class AimResult:
    """An aim, and whether it was reached."""

    subject: str  # what was measured, with `{}` in place of the value
    measured: Spread
    wanted: float  # the limit for its median
    at_most: bool = False  # whether that is an upper limit, rather than a lower one

    @property
    def met(self) -> bool:
        """Whether the median is within the limit."""
        value = self.measured[0]
        return value <= self.wanted if self.at_most else value >= self.wanted

    def __str__(self) -> str:
        value, low, high = map(number, self.measured)
        limit = f"at most {self.wanted}" if self.at_most else f"{self.wanted}"
        return f"{self.subject.format(value)} (rounds {low} – {high}); wanted is {limit}"


def judge(variant: Variant, figure: Figure, wanted: float) -> AimResult:
    """Compares a figure of a variant with its aim."""
    subject = f"{variant.group}: {variant.name}: {figure.heading}: {{}}"
    return AimResult(subject, variant.spread(figure.name), wanted, figure.lower_is_better)


def number(value: float) -> str:
    """About three significant digits; a dash where nothing was measured."""
    if not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


@dataclass(frozen=True)
class Comparison:
    """A comparison with all its measurements, as in the JSON file."""

    measured_at: str  # when it began, in UTC
    command: str
    settings: dict[str, int]  # fields of `BenchSettings`, and the threads
    machine: dict[str, str]
    versions: dict[str, str]
    variants: tuple[Variant, ...]  # in the order of the table

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        variants = [
            {
                "group": each.group,
                "name": each.name,
                "rounds": [measured.plain() for measured in each.rounds],
            }
            for each in self.variants
        ]
        return {**vars(self), "variants": variants}

    @property
    def groups(self) -> dict[str, list[Variant]]:
        """The variants by their group."""
        found: dict[str, list[Variant]] = {}
        for variant in self.variants:
            found.setdefault(variant.group, []).append(variant)
        return found


Results = dict[str, Comparison]
"""The comparisons by name, all of one machine."""


def file_of(machine: dict[str, str], folder: Path) -> Path:
    """The file of a machine's results; no other machine has the same."""
    digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:8]
    words = f"{machine['processor']} {machine['cores']} cores {digest}".lower()
    return folder / "benchmarks" / f"{re.sub(r'[^a-z0-9]+', '-', words)}.json"


def read(path: Path) -> Results:
    """Reads a file of results; without one there are none.

    Raises:
        LoadTestError: It is no such file, or holds results of several machines.
    """
    if not path.is_file():
        return {}
    try:
        plain = json.loads(path.read_text())
        if plain["schema"] != SCHEMA:
            raise ValueError(f"its schema is {plain['schema']}, not {SCHEMA}")
        results = {name: _comparison(each) for name, each in plain["comparisons"].items()}
        if len({tuple(each.machine.items()) for each in results.values()}) > 1:
            raise ValueError("it has results of several machines, which are not compared")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"{path} cannot be read ({error}): remove it and measure again with make bench"
        ) from None
    return results


def _comparison(plain: dict[str, Any]) -> Comparison:
    variants = tuple(
        Variant(each["group"], each["name"], tuple(map(Measurement.of, each["rounds"])))
        for each in plain["variants"]
    )
    return Comparison(**{**plain, "variants": variants})


def write(path: Path, results: Results) -> None:
    """Writes all results, or nothing."""
    plain = {
        "schema": SCHEMA,
        "comparisons": {name: to_plain(each.plain()) for name, each in results.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(plain, indent=1) + "\n")
    scratch.replace(path)
