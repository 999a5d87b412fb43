"""The trade-off of throughput and latency, with every point that was measured."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtests.charts import COLOURS, STYLE
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
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlim(left=0)
        axes.set_xlabel("right answers a second")
        axes.set_ylabel("p99, milliseconds")
        figure.legend(loc="outside upper left", ncols=5, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :].replace(
        "<svg ", '<svg role="img" aria-label="Throughput and latency of every level" ', 1
    )


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
