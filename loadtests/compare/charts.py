"""One chart a comparison: bars for the medians, lines from the lowest to the highest round."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtests.compare.results import Comparison
from loadtests.report.charts import COLOURS, STYLE

_BAR = 0.34
"""Inches that a bar takes."""


def chart(comparison: Comparison, title: str, unit: str) -> str:
    """Draws the rate of each variant.

    Args:
        comparison: What was measured.
        title: For those who cannot see it.
        unit: What is counted.

    Returns:
        An SVG file. Each bar has `group: name` as the id of its group.
    """
    groups = comparison.groups
    bars = len(comparison.variants)
    # A page may be white or black: the chart brings its own ground.
    style = {**STYLE, "figure.facecolor": "white", "axes.facecolor": "white"}
    with mpl.rc_context(style):
        height = _BAR * bars + 0.55 * len(groups) + 0.5
        figure = Figure(figsize=(7.2, height), layout="constrained")
        shape = {"height_ratios": [len(variants) + 0.8 for variants in groups.values()]}
        rows = figure.subplots(len(groups), 1, squeeze=False, gridspec_kw=shape)[:, 0]
        for axes, (group, variants) in zip(rows, groups.items(), strict=True):
            for position, variant in enumerate(variants):
                median = variant.median("rate")
                low, high = variant.spread("rate")
                (bar,) = axes.barh(position, median, color=COLOURS[position % len(COLOURS)])
                bar.set_gid(f"{group}: {variant.name}")
                axes.plot([low, high], [position, position], color="black", lw=1.2)
                axes.annotate(
                    f"{median:.0f}",
                    (max(high, median), position),
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
        rows[-1].set_xlabel(f"{unit} a second")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Title": title})
    return buffer.getvalue()
