"""Renders docs/benchmarks.md and its charts from what was measured, and from nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtests.compare.catalogue import CATALOGUE, PEERS
from loadtests.compare.charts import chart
from loadtests.compare.results import Comparison, Results, Variant, ratios
from loadtests.compare.verdicts import verdicts

PAGE = "benchmarks.md"
_SHARES = ("server", "client", "others")


def chart_file(name: str) -> str:
    """The chart of a comparison, beside the page."""
    return f"benchmarks-{name}.svg"


def render(results: Results, folder: Path) -> None:
    """Writes the page, and a chart for each comparison that was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(results))
    for name, comparison in results.items():
        entry = CATALOGUE[name]
        (folder / chart_file(name)).write_text(chart(comparison, entry.title, entry.unit))


def page(results: Results) -> str:
    """The page as Markdown; it says of each comparison whether it was measured."""
    environment = Environment(  # noqa: S701 - it writes Markdown of our own figures
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("benchmarks.md.jinja")
    sections = [
        {
            "name": name,
            "entry": entry,
            "chart": chart_file(name),
            "found": results.get(name),
            "tables": _tables(results[name], entry.unit) if name in results else [],
            "verdicts": verdicts(results[name]) if name == PEERS and name in results else [],
            "client": _client(results[name]) if name in results else "",
        }
        for name, entry in CATALOGUE.items()
    ]
    machines = [comparison.machine for comparison in results.values()]
    return template.render(sections=sections, machine=machines[0] if machines else None)


def _tables(comparison: Comparison, unit: str) -> list[dict[str, Any]]:
    return [
        {"group": group, "table": _table(variants, unit)}
        for group, variants in comparison.groups.items()
    ]


def _table(variants: list[Variant], unit: str) -> str:
    first = variants[0]
    columns = ["", f"{unit} a second", "lowest – highest", f"× {first.name}", "p50, ms", "p99, ms"]
    columns += ["mean batch", *(f"CPU, {share}" for share in _SHARES), "not right"]
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)]]
    lines += [_row(variant, first) for variant in variants]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(variant: Variant, first: Variant) -> list[str]:
    low, high = variant.spread("rate")
    return [
        variant.name,
        f"**{number(variant.median('rate'))}**",
        f"{number(low)} – {number(high)}",
        "1" if variant is first else ratio_text(ratios(variant, first)),
        number(variant.median("p50")),
        number(variant.median("p99")),
        number(variant.median("batch")),
        *(f"{variant.median(share):.2f}" for share in _SHARES),
        f"{variant.total('failed')} of {variant.total('requests')}",
    ]


def number(value: float) -> str:
    """Three digits that say something; a dash where nothing was measured."""
    if not math.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio_text(found: tuple[float, float, float]) -> str:
    """A ratio with its lowest and highest round."""
    median, low, high = found
    if not math.isfinite(median):
        return "–"
    return f"{median:.2f} ({low:.2f} – {high:.2f})"


def _client(comparison: Comparison) -> str:
    """The most that the client took of the processors in any variant."""
    cores = int(comparison.machine["cores"])
    most = max(variant.median("client") for variant in comparison.variants)
    return f"{most:.2f} of {cores} processors ({most / cores:.0%})"
