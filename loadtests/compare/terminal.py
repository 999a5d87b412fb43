"""A comparison as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from loadtests.compare.page import number
from loadtests.compare.results import Comparison, ratios


def print_comparison(console: Console, title: str, comparison: Comparison) -> None:
    """Prints the rate of each variant, its spread and its ratio to the first of its group."""
    console.print(f"\n{title}", style="bold", markup=False)
    for group, variants in comparison.groups.items():
        table = Table(group, box=None, pad_edge=False)
        for column in ("a second", "lowest – highest", "× first", "p50, ms", "client", "wrong"):
            table.add_column(column, justify="right", no_wrap=True)
        for variant in variants:
            low, high = variant.spread("rate")
            table.add_row(
                variant.name,
                number(variant.median("rate")),
                f"{number(low)} – {number(high)}",
                f"{ratios(variant, variants[0])[0]:.2f}",
                number(variant.median("p50")),
                f"{variant.median('client'):.2f}",
                str(variant.total("failed")),
            )
        console.print(table)
