"""The charts of a report, as SVG that stands in the page, and the style that all charts share."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from loadtests.load.request_log import QUANTILES
from loadtests.load.run import Run
from loadtests.load.settings import Shape
from loadtests.report.machine import cores
from loadtests.report.metrics import PARTS
from loadtests.report.result import Result

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "charts",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
"""For `matplotlib.rc_context`, in which a figure is drawn and saved."""
COLOURS = ["#3b6fb6", "#2a9d78", "#d98c21", "#c8443c", "#7d5ba6", "#8a8d91", "#59a5c9"]
BLUE, GREEN, ORANGE, RED, PURPLE, GREY, LIGHT_BLUE = COLOURS
_PART_COLOURS = dict(zip(PARTS, [RED, GREY, ORANGE, LIGHT_BLUE, BLUE, GREEN, PURPLE], strict=True))

Draw = Callable[[Any, Run, Result], None]


def charts(run: Run, result: Result) -> dict[str, str]:
    """Title and SVG of each chart that the run's shape has; a series has its name as its id."""
    drawn: dict[str, Draw] = {}
    if run.settings.shape is Shape.STEPS:
        drawn["Goodput and latency by users"] = _steps
    drawn |= {
        "Throughput": _throughput,
        "Latency": _latency,
        "Where the time of a request went": _split,
        "Mean batch": _batch,
        "Processors": _processors,
    }
    if run.settings.shape is Shape.SOAK and run.target.pid is not None:
        drawn["Memory of the server"] = _memory
    return {title: _svg(draw, title, run, result) for title, draw in drawn.items()}


def _svg(draw: Draw, title: str, run: Run, result: Result) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, run, result)
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside upper left", ncols=7, fontsize=9, handlelength=1.2)
        svg = svg_element(figure, title)
    # Ids are the page's, in which every chart begins with figure_1.
    name = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'\bid="', f'id="{name}.', svg)
    return re.sub(r'(href="|url\()#', rf"\1#{name}.", svg)


def _over_time(axes: Any, run: Run, result: Result, unit: str) -> list[float]:
    """Prepares the axes; returns the middle of each interval."""
    seconds = [interval.second for interval in result.intervals]
    width = seconds[1] - seconds[0] if len(seconds) > 1 else 1.0
    if run.settings.warm_up:
        axes.axvspan(seconds[0], 0, color=GREY, alpha=0.15, lw=0)
        axes.annotate(
            "warm-up",
            (seconds[0], 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            va="top",
            fontsize=8,
        )
    axes.set_xlim(seconds[0], seconds[-1] + width)
    axes.set_xlabel("seconds")
    axes.set_ylabel(unit)
    return [second + width / 2 for second in seconds]


def _line(axes: Any, x: Sequence[float], y: Sequence[float], name: str, **style: Any) -> None:
    marker = "o" if len(x) < 25 else None
    axes.plot(x, y, label=name, gid=name, lw=1.8, marker=marker, markersize=3, **style)


def _throughput(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "a second")
    intervals = result.intervals
    if run.settings.shape.is_open:
        offered = [interval.offered for interval in intervals]
        _line(axes, x, offered, "requests due", color=GREY, linestyle="--")
    _line(axes, x, [i.goodput for i in intervals], "right answers", color=GREEN)
    _line(axes, x, [i.failed for i in intervals], "failures", color=RED)
    axes.set_ylim(bottom=0)


def _latency(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "milliseconds")
    for name, colour in zip(QUANTILES, COLOURS, strict=False):
        _line(axes, x, [i.quantiles[name] for i in result.intervals], name, color=colour)
    log_scale(axes)


def _split(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "milliseconds, mean")
    splits = {
        middle: interval.split
        for middle, interval in zip(x, result.intervals, strict=True)
        if not math.isnan(interval.split.compute)
    }
    # Rounding and interpolation can bring a little less than nothing.
    layers = {part: [max(0.0, getattr(split, part)) for split in splits.values()] for part in PARTS}
    shown = {part: values for part, values in layers.items() if any(v > 0.005 for v in values)}
    if not shown:
        return
    areas = axes.stackplot(
        list(splits),
        list(shown.values()),
        labels=list(shown),
        colors=[_PART_COLOURS[part] for part in shown],
        lw=0,
    )
    for part, area in zip(shown, areas, strict=True):
        area.set_gid(part)
    axes.set_ylim(bottom=0)


def _batch(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "inferences an execution")
    for model, colour in zip(run.parts, COLOURS, strict=False):
        sizes = [interval.batch.get(model, math.nan) for interval in result.intervals]
        _line(axes, x, sizes, model, color=colour)
    axes.set_ylim(bottom=0)


def _processors(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "processors busy")
    for name, colour in {"server": BLUE, "client": ORANGE, "others": GREY}.items():
        _line(axes, x, [getattr(i.processors, name) for i in result.intervals], name, color=colour)
    axes.axhline(cores(), color="black", lw=0.8, linestyle=":")
    axes.set_ylim(0, cores() * 1.05)


def _memory(axes: Any, run: Run, result: Result) -> None:
    x = _over_time(axes, run, result, "MiB")
    _line(axes, x, [i.server_bytes / 2**20 for i in result.intervals], "server", color=BLUE)


def _steps(axes: Any, run: Run, result: Result) -> None:  # noqa: ARG001
    users = [level.users for level in result.levels]
    _line(axes, users, [level.goodput for level in result.levels], "goodput", color=GREEN)
    axes.set_xscale("log", base=2)
    axes.set_xticks(users, [str(count) for count in users])
    axes.set_xlabel("users")
    axes.set_ylabel("right answers a second")
    axes.set_ylim(bottom=0)
    late = axes.twinx()
    late.grid(visible=False)
    late.spines["right"].set_visible(True)
    late.set_ylabel("p99, milliseconds")
    log_scale(late)
    _line(late, users, [level.p99 for level in result.levels], "p99", color=RED)
    if result.knee:
        axes.axvline(result.knee.users, color="black", lw=1, linestyle="--", gid="knee")
        axes.annotate(
            "knee",
            (result.knee.users, 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=9,
        )


def log_scale(axes: Any) -> None:
    """Gives an axis of latencies a logarithmic scale with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def svg_file(figure: Figure, **metadata: str | None) -> str:
    """The text of an SVG file, the same for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, **metadata})
    return buffer.getvalue()


def svg_element(figure: Figure, label: str) -> str:
    """An SVG element that stands in a page and fills the width that it gets there."""
    svg = svg_file(figure, Creator=None)
    attributes = rf'\1role="img" aria-label="{label}" '
    return re.sub(r'(<svg [^>]*?)width="[^"]*" ?', attributes, svg[svg.index("<svg") :], count=1)
