"""The report of a search: one HTML file that needs no network, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from loadtests.report.charts import BLUE, GREEN, GREY, ORANGE, RED, STYLE, log_scale, svg_element
from loadtests.report.machine import machine, versions
from loadtests.report.result import to_plain
from loadtests.report.templates import template
from loadtests.tune.confirmation import Finalist, reasons, typical
from loadtests.tune.results import RateLevel, Score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import KNOBS, Candidate, Space
from loadtests.tune.tuner import Found

_TEMPLATE = Path(__file__).parent / "report.html.jinja"


@dataclass(frozen=True)
class Report:
    """What is said of a search."""

    settings: TuneSettings
    space: Space
    found: Found
    triton: str  # the server's version

    @property
    def closest(self) -> tuple[Candidate, Score] | None:
        """Of what was measured, what met the objective best or came closest to it."""
        scored = [(trial.candidate, trial.score) for trial in self.found.trials if trial.score]
        if any(score.met for _, score in scored) or self.settings.rate is not None:
            key = lambda pair: (pair[1].met, self.settings.goodness(pair[1]))  # noqa: E731
            return max(scored, key=key, default=None)
        return min(scored, key=lambda pair: pair[1].level.p99, default=None)

    @property
    def chosen(self) -> Candidate:
        """The winner, or else what came closest."""
        if self.found.decision:
            return self.found.decision.winner.candidate
        return self.closest[0] if self.closest else self.space.shipped

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Everything that the report says, for JSON."""
        settings, found, decision = self.settings, self.found, self.found.decision
        near, winner = self.closest, self.chosen
        facts: dict[str, Any] = to_plain(
            {
                "ended": datetime.now(timezone.utc).isoformat(timespec="minutes"),
                "command": settings.command(),
                "model": settings.model,
                "objective": {"p99_ms": settings.p99_ms, "rate": settings.rate},
                "met": found.met,
                "winner": winner if found.met else None,
                "shipped_is_best": bool(decision) and winner == self.space.shipped,
                "why": decision.why if decision else "",
                "closest": near and {"candidate": near[0], "score": near[1]},
                "shipped": self.space.shipped,
                "confirmation": found.confirmation,
                "finalists": [
                    {**vars(each), "met": each.met, "typical": typical(settings, each)}
                    for each in found.finalists
                ],
                "ratios": [
                    {"to": candidate, **vars(ratio)}
                    for candidate, ratio in (decision.ratios if decision else {}).items()
                ],
                "reasons": reasons(settings, self.space, found.trials, winner) if decision else {},
                "space": len(self.space.candidates),
                "seconds": found.seconds,
                "trials": found.trials,
                "machine": machine(),
                "versions": versions(self.triton),
            }
        )
        return facts

    def write(self, folder: Path) -> Path:
        """Writes the HTML file, which is returned, and the JSON file beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        page = folder / f"{stamp}-{self.settings.model}-tune.html"
        page.with_suffix(".json").write_text(json.dumps(self.facts, indent=1) + "\n")
        html = template(_TEMPLATE).render(
            facts=self.facts,
            settings=self.settings,
            space=self.space,
            found=self.found,
            chosen=self.chosen,
            near=self.closest,
            knobs=KNOBS,
            rows=self.finalist_rows(),
            chart=trade_off(self.found, self.space.shipped, self.chosen, self.settings.p99_ms),
        )
        page.write_text(html)
        return page

    def finalist_rows(self) -> list[dict[str, str]]:
        """The finals as a table: the winner first, then the others, each with its ratio."""
        decision = self.found.decision
        winner = decision and decision.winner

        def row(each: Finalist) -> dict[str, str]:
            values = [self.settings.value(score) for score in each.rounds]
            against = decision.ratios.get(each.candidate) if decision else None
            name = "shipped" if each.candidate == self.space.shipped else "candidate"
            compared = "misses the objective" if not each.met else ""
            if against and len(values) > 1:
                compared = f"{against.middle:.2f} × ({against.low:.2f} – {against.high:.2f})"
            elif against:
                compared = f"{against.middle:.2f} ×, once"
            return {
                "name": f"chosen, {name}" if each is winner else name,
                "config": each.candidate.title,
                "typical": f"{typical(self.settings, each):.1f}",
                "spread": f"{min(values):.1f} – {max(values):.1f}",
                "compared": compared,
            }

        return [row(each) for each in sorted(self.found.finalists, key=lambda e: e is not winner)]


def trade_off(found: Found, shipped: Candidate, winner: Candidate, limit_ms: float | None) -> str:
    """Draws p99 over the rate for every level of every candidate, and the limit if there is one.

    Returns:
        An SVG element. Each series has its name as the id of its group.
    """
    scores = [(trial.candidate, trial.score) for trial in found.trials if trial.score]
    scores += [(each.candidate, score) for each in found.finalists for score in each.rounds]
    levels = [(candidate, level) for candidate, score in scores for level in score.levels]

    def of(*candidates: Candidate) -> list[RateLevel]:
        return [level for candidate, level in levels if candidate in candidates]

    others = [level for candidate, level in levels if candidate not in (shipped, winner)]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 4.6), layout="constrained")
        axes = figure.add_subplot()
        _points(axes, others, "other candidates", GREY, 14)
        _points(axes, of(shipped), "shipped", ORANGE, 34)
        if winner != shipped:
            _points(axes, of(winner), "chosen", BLUE, 34)
        if found.confirmation:
            _points(axes, [found.confirmation.level], "last run", GREEN, 110, marker="*")
        if limit_ms:
            axes.axhline(limit_ms, color=RED, lw=1, linestyle="--", gid="objective")
        _scale(axes, [level for _, level in levels])
        axes.set_xlabel("right answers a second")
        axes.set_ylabel("p99, milliseconds")
        figure.legend(loc="outside upper left", ncols=5, fontsize=9)
        return svg_element(figure, "Throughput and latency of every level")


def _scale(axes: Any, levels: list[RateLevel]) -> None:
    """From no answers a second on; latencies on a logarithmic scale of two decades at least."""
    p99s = [each.p99 for each in levels] or [1.0]
    log_scale(axes)
    axes.set_ylim(min(p99s) / 1.6, max(1.6 * max(p99s), 60 * min(p99s)))
    axes.set_xlim(0, 1.08 * max((each.goodput for each in levels), default=1.0))


def _points(
    axes: Any, levels: list[RateLevel], name: str, colour: str, size: int, *, marker: str = "o"
) -> None:
    """Filled where the server kept up, hollow where its queue grew."""
    for behind in (False, True):
        chosen = [each for each in levels if each.falls_behind == behind]
        if chosen:
            label = f"{name}, falling behind" if behind else name
            axes.scatter(
                [each.goodput for each in chosen],
                [each.p99 for each in chosen],
                s=size,
                marker=marker,
                label=label,
                gid=label,
                facecolors="none" if behind else colour,
                edgecolors=colour,
            )
