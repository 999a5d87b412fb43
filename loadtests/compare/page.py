"""Shows what was measured, and nothing else: on a terminal, and as docs/benchmarks.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure as Drawing
from rich.console import Console
from rich.table import Table as RichTable

from loadtests.compare import explanations, inputs, served
from loadtests.compare.catalogue import CATALOGUE, Entry
from loadtests.compare.results import Comparison, Results, Spread, Variant, number, ratios
from loadtests.load.network import MAX_CHUNKS
from loadtests.report.charts import COLOURS, STYLE, svg_file
from loadtests.report.templates import template

PAGE = "benchmarks.md"
_TEMPLATE = Path(__file__).parent / "benchmarks.md.jinja"
_BAR = 0.34
"""Inches that a bar takes."""


class Table(NamedTuple):
    """A group of variants as text, a row for each."""

    group: str
    columns: list[str]
    rows: list[list[str]]


def tables(entry: Entry, comparison: Comparison, *, brief: bool = False) -> list[Table]:
    """The groups of a comparison; `brief` leaves out what does not fit on a terminal."""
    return [_table(entry, group, variants, brief) for group, variants in comparison.groups.items()]


def _table(entry: Entry, group: str, variants: list[Variant], brief: bool) -> Table:
    main, first = entry.figures[0], variants[0]
    shown = [
        figure
        for figure in entry.figures[1:]
        if (figure.brief or not brief)
        and any(math.isfinite(each.median(figure.name)) for each in variants)
    ]
    compared = entry.compared and len(variants) > 1
    counted = any(each.total("requests") for each in variants)
    columns = ["", "median" if brief else main.heading, "rounds" if brief else "lowest – highest"]
    columns += ["ratio" if brief else f"× {first.name}"] if compared else []
    columns += [figure.heading for figure in shown] + (
        [("wrong" if brief else "not right")] if counted else []
    )
    rows, dash = [], "–" if brief else " – "
    for variant in variants:
        median, low, high = variant.spread(main.name)
        row = [variant.name, number(median) if brief else f"**{number(median)}**"]
        row.append(f"{number(low)}{dash}{number(high)}")
        if compared:
            ratio = ratios(variant, first, main.name)
            text = f"{ratio[0]:.2f}" if brief else ratio_text(ratio)
            row.append("1" if variant is first else text)
        for figure in shown:
            middle, lowest, highest = map(number, variant.spread(figure.name))
            is_ranged = figure.ranged and not brief
            row.append(f"{middle} ({lowest} – {highest})" if is_ranged else middle)
        if counted:
            failed = str(variant.total("failed"))
            row.append(failed if brief else f"{failed} of {variant.total('requests')}")
        rows.append(row)
    return Table(group, columns, rows)


def ratio_text(found: Spread) -> str:
    """A ratio with its lowest and highest round."""
    median, low, high = found
    if not math.isfinite(median):
        return "–"
    return f"{median:.2f} ({low:.2f} – {high:.2f})"


def print_comparison(console: Console, name: str, comparison: Comparison) -> None:
    """Prints the tables of a comparison, and what was wanted."""
    entry = CATALOGUE[name]
    heading = f"\n{entry.title} ({name}): {entry.figures[0].heading}"
    console.print(heading, style="bold", markup=False)
    for group, columns, rows in tables(entry, comparison, brief=True):
        table = RichTable(box=None, pad_edge=False, collapse_padding=True)
        table.add_column(group)
        for heading, *cells in zip(columns[1:], *(row[1:] for row in rows), strict=True):
            table.add_column(heading, justify="right", min_width=max(map(len, cells)))
        for row in rows:
            table.add_row(*row)
        console.print(table, "")
    for aim in entry.aims(comparison):
        word = "[green]reached[/]" if aim.met else "[red]not reached[/]"
        console.print(f"{aim}: {word}")


def chart_file(name: str) -> str:
    """The chart of a comparison, beside the page."""
    return f"benchmarks-{name}.svg"


def render(results: Results, folder: Path) -> None:
    """Writes the page, and a chart for each comparison that was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(results))
    for old in folder.glob(chart_file("*")):
        old.unlink()
    for name, comparison in results.items():
        (folder / chart_file(name)).write_text(chart(comparison, CATALOGUE[name]))


def page(results: Results) -> str:
    """The page as Markdown; it says of each comparison whether it was measured."""
    sections = [
        {
            "name": name,
            "entry": entry,
            "chart": chart_file(name),
            "found": found,
            "tables": [_markdown(each) for each in tables(entry, found)] if found else [],
            "aims": entry.aims(found) if found else [],
            "client": _client(found) if found else "",
        }
        for name, entry in CATALOGUE.items()
        for found in [results.get(name)]
    ]
    machine = next((comparison.machine for comparison in results.values()), None)
    return template(_TEMPLATE).render(
        sections=sections,
        machine=machine,
        served=served,
        inputs=inputs,
        explanations=explanations,
        max_chunks=MAX_CHUNKS,
    )


def _markdown(table: Table) -> dict[str, str]:
    lines = [table.columns, ["---", *["---:"] * (len(table.columns) - 1)], *table.rows]
    return {
        "group": table.group,
        "table": "\n".join(f"| {' | '.join(cells)} |" for cells in lines),
    }


def _client(comparison: Comparison) -> str:
    """The most that a client took of the processors in any variant; empty without a client."""
    cores = int(comparison.machine["cores"])
    taken = [each.median("client") for each in comparison.variants]
    most = max((each for each in taken if each > 0), default=0.0)  # NaN is not above 0
    if not most:
        return ""
    return f"{most:.2f} of {cores} processors ({most / cores:.0%})"


def chart(comparison: Comparison, entry: Entry) -> str:
    """Draws the main figure of each variant: bars for medians, lines from lowest to highest.

    Returns:
        An SVG file. Each bar has `group: name` as the id of its group.
    """
    groups, figure = comparison.groups, entry.figures[0]
    # A page may be white or black: the chart brings its own ground.
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white"}
    with mpl.rc_context(style):
        height = _BAR * len(comparison.variants) + 0.55 * len(groups) + 0.5
        drawing = Drawing(figsize=(7.2, height), layout="constrained")
        shape = {"height_ratios": [len(variants) + 0.8 for variants in groups.values()]}
        rows = drawing.subplots(len(groups), 1, squeeze=False, gridspec_kw=shape)[:, 0]
        for axes, (group, variants) in zip(rows, groups.items(), strict=True):
            for position, variant in enumerate(variants):
                median, low, high = variant.spread(figure.name)
                (bar,) = axes.barh(position, median, color=COLOURS[position % len(COLOURS)])
                bar.set_gid(f"{group}: {variant.name}")
                axes.plot([low, high], [position, position], color="black", lw=1.2)
                axes.annotate(
                    f"{median:.0f}" if median >= 10 else number(median),
                    (high, position),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                )
            axes.set_yticks(range(len(variants)), [variant.name for variant in variants])
            axes.invert_yaxis()
            axes.set_xlim(left=0)
            axes.margins(x=0.1)
            axes.grid(visible=False, axis="y")
            axes.set_title(group, loc="left", fontsize=10)
        rows[-1].set_xlabel(figure.heading)
        return svg_file(drawing, Title=entry.title)
