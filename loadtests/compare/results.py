"""What was measured, and its arithmetic: medians, spread, ratios within a round."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.load.errors import LoadTestError
from loadtests.report.result import to_plain

SCHEMA = 1


@dataclass(frozen=True)
class Measured:
    """One measurement of one variant.

    Attributes:
        rate: Right answers a second; of a request with several rows each row counts.
        p50: Milliseconds.
        p99: Milliseconds.
        requests: How many were measured.
        failed: Those without a right answer, wrong ones included.
        wrong: Those with a wrong one, the warm-up's included.
        server: Processors that the server kept busy.
        client: The same of what makes and watches the load; 0 where nothing does.
        others: The same of everything else on the machine.
        batch: Mean batch of the network; None where nobody counts it.
        split: Milliseconds of a request by where they went; empty where nobody can tell.
    """

    rate: float
    p50: float
    p99: float
    requests: int
    failed: int
    wrong: int
    server: float
    client: float
    others: float
    batch: float | None = None
    split: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """A variant in all rounds.

    Attributes:
        group: Variants are compared with those of their group.
        name: What it is called.
        rounds: One measurement a round.
    """

    group: str
    name: str
    rounds: tuple[Measured, ...]

    def median(self, field_name: str) -> float:
        """The median of the rounds."""
        return statistics.median(self._values(field_name))

    def spread(self, field_name: str) -> tuple[float, float]:
        """The lowest and the highest round."""
        values = self._values(field_name)
        return min(values), max(values)

    def total(self, field_name: str) -> int:
        """The sum of the rounds."""
        return int(sum(self._values(field_name)))

    def _values(self, field_name: str) -> list[float]:
        values = [getattr(measured, field_name) for measured in self.rounds]
        return [float("nan") if value is None else float(value) for value in values]


def ratios(variant: Variant, other: Variant) -> tuple[float, float, float]:
    """How many times the rate of another variant.

    Each round is divided by the same round of the other, since what else the machine did met
    both alike.

    Returns:
        The median, the lowest and the highest of the rounds; NaN where the other had none.
    """
    pairs = zip(variant.rounds, other.rounds, strict=True)
    found = [a.rate / b.rate if b.rate else float("nan") for a, b in pairs]
    return statistics.median(found), min(found), max(found)


@dataclass(frozen=True)
class Comparison:
    """All that is known of one comparison, as the JSON file has it.

    Attributes:
        measured_at: When it began, in UTC.
        command: What repeats it.
        settings: Fields of `BenchSettings`, and the threads.
        machine: What it was measured on.
        versions: Of all that took part.
        variants: In the order of the table.
    """

    measured_at: str
    command: str
    settings: dict[str, int]
    machine: dict[str, str]
    versions: dict[str, str]
    variants: tuple[Variant, ...]

    @property
    def groups(self) -> dict[str, list[Variant]]:
        """The variants by their group."""
        found: dict[str, list[Variant]] = {}
        for variant in self.variants:
            found.setdefault(variant.group, []).append(variant)
        return found


Results = dict[str, Comparison]
"""The comparisons by name."""


def read(path: Path) -> Results:
    """Reads a file of results; without one there are none.

    Raises:
        LoadTestError: It is no such file.
    """
    if not path.is_file():
        return {}
    try:
        plain = json.loads(path.read_text())
        if plain["schema"] != SCHEMA:
            raise ValueError(f"its schema is {plain['schema']}, not {SCHEMA}")
        return {name: _comparison(each) for name, each in plain["comparisons"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"{path} cannot be read ({error}): remove it and measure again with make bench"
        ) from None


def _comparison(plain: dict[str, Any]) -> Comparison:
    variants = tuple(
        Variant(each["group"], each["name"], tuple(Measured(**m) for m in each["rounds"]))
        for each in plain["variants"]
    )
    return Comparison(**{**plain, "variants": variants})


def write(path: Path, results: Results) -> None:
    """Writes all results, or nothing."""
    plain = {
        "schema": SCHEMA,
        "comparisons": {name: to_plain(asdict(each)) for name, each in results.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(plain, indent=1) + "\n")
    scratch.replace(path)


def add(results: Results, name: str, comparison: Comparison, order: Sequence[str]) -> Results:
    """Puts a comparison in the place of an older one.

    Raises:
        LoadTestError: The others were measured on another machine.
    """
    others = {known: each for known, each in results.items() if known != name}
    strangers = [known for known, each in others.items() if each.machine != comparison.machine]
    if strangers:
        raise LoadTestError(
            f"{', '.join(strangers)} was measured on another machine, and runs of two machines "
            "are not compared: write elsewhere with --out, or remove the old results"
        )
    merged = {**others, name: comparison}
    return {known: merged[known] for known in order if known in merged}
