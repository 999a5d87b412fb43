"""A comparison as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from loadtests.bench.page import number, ratio_text
from loadtests.bench.results import Comparison, ratios


def print_comparison(console: Console, title: str, comparison: Comparison) -> None:
    """Prints the rate of each variant, its spread and its ratio to the first of its group."""
    table = Table("", title=title, title_justify="left")
    for column in ("a second", "lowest – highest", "× the first", "p50, ms", "p99, ms"):
        table.add_column(column, justify="right")
    for column in ("server", "client", "others", "not right"):
        table.add_column(column, justify="right")
    for group, variants in comparison.groups.items():
        table.add_row(group, style="bold")
        for variant in variants:
            low, high = variant.spread("rate")
            table.add_row(
                f"  {variant.name}",
                number(variant.median("rate")),
                f"{number(low)} – {number(high)}",
                "1" if variant is variants[0] else ratio_text(ratios(variant, variants[0])),
                number(variant.median("p50")),
                number(variant.median("p99")),
                *(f"{variant.median(share):.2f}" for share in ("server", "client", "others")),
                str(variant.total("failed")),
            )
    console.print(table)
