"""Whether Triton reaches what is wanted of it against the best of the peers."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.compare.against import TRITON
from loadtests.compare.results import Comparison, Variant, ratios

WANTED_MANY, WANTED_ONE = 1.4, 1.0
"""Times the rate of the best peer, with many callers and with one."""


@dataclass(frozen=True)
class Verdict:
    """Triton against the best peer of a group.

    Attributes:
        group: The precision and the callers.
        triton: The row of Triton.
        best: The row of the peer with the highest median.
        ratio: Median, lowest and highest round of Triton's rate divided by that peer's.
        wanted: The least that the median should be.
    """

    group: str
    triton: str
    best: str
    ratio: tuple[float, float, float]
    wanted: float

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.ratio[0] >= self.wanted


def verdicts(comparison: Comparison) -> list[Verdict]:
    """One for each row of Triton that has a peer in its group."""
    found = []
    for group, variants in comparison.groups.items():
        peers = [variant for variant in variants if not variant.name.startswith(TRITON)]
        if not peers:
            continue
        best = max(peers, key=_rate)
        wanted = WANTED_ONE if group.endswith(" 1 caller") else WANTED_MANY
        found += [
            Verdict(group, variant.name, best.name, ratios(variant, best), wanted)
            for variant in variants
            if variant.name.startswith(TRITON)
        ]
    return found


def _rate(variant: Variant) -> float:
    return variant.median("rate")
