"""The trade-off of throughput and latency, with every point that was measured."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from loadtests.report.charts import COLOURS, STYLE
from loadtests.tune.candidate import Candidate
from loadtests.tune.level import Level
from loadtests.tune.tuner import Found

_GREY = "#8a8d91"


def trade_off(found: Found, shipped: Candidate, winner: Candidate, limit_ms: float | None) -> str:
    """Draws p99 over the rate for every level of every candidate.

    Args:
        found: What was measured.
        shipped: Is drawn beside the winner.
        winner: The config that was chosen, or came closest.
        limit_ms: The p99 that was asked for, if one was.

    Returns:
        An SVG element. Each series has its name as the id of its group.
    """
    levels: dict[Candidate, list[Level]] = {}
    for trial in found.trials:
        if trial.score:
            levels.setdefault(trial.candidate, []).extend(trial.score.levels)
    for finalist in found.finalists:
        for score in finalist.rounds:
            levels.setdefault(finalist.candidate, []).extend(score.levels)
    others = [e for c, found_ in levels.items() if c not in (shipped, winner) for e in found_]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, others, "other candidates", _GREY, 14)
        _points(axes, levels.get(shipped, []), "shipped", COLOURS[2], 34)
        if winner != shipped:
            _points(axes, levels.get(winner, []), "chosen", COLOURS[0], 34)
        if found.confirmation:
            _points(axes, [found.confirmation.level], "last run", COLOURS[1], 110, marker="*")
        if limit_ms:
            axes.axhline(limit_ms, color=COLOURS[3], lw=1, linestyle="--", gid="objective")
        _scale(axes, [each for of in levels.values() for each in of])
        axes.set_xlabel("right answers a second")
        axes.set_ylabel("p99, milliseconds")
        figure.legend(loc="outside upper left", ncols=5, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(
        "<svg ", '<svg role="img" aria-label="Throughput and latency of every level" ', 1
    )


def _scale(axes: Any, levels: list[Level]) -> None:
    """From no answers a second on; latencies on a logarithmic scale of two decades at least."""
    p99s = [each.p99 for each in levels] or [1.0]
    axes.set_yscale("log")
    axes.set_ylim(min(p99s) / 1.6, max(1.6 * max(p99s), 60 * min(p99s)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0, 1.08 * max((each.goodput for each in levels), default=1.0))


def _points(
    axes: Any, levels: list[Level], name: str, colour: str, size: int, *, marker: str = "o"
) -> None:
    """Filled where the server kept up, hollow where its queue grew."""
    for behind in (False, True):
        chosen = [each for each in levels if each.falls_behind == behind]
        if not chosen:
            continue
        axes.scatter(
            [each.goodput for each in chosen],
            [each.p99 for each in chosen],
            s=size,
            marker=marker,
            label=f"{name}, falling behind" if behind else name,
            gid=f"{name}, falling behind" if behind else name,
            facecolors="none" if behind else colour,
            edgecolors=colour,
        )
