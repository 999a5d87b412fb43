"""The report of a search: one HTML file that needs no network, and the same as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from loadtests.report.charts import COLOURS, STYLE
from loadtests.report.machine import machine, versions
from loadtests.report.result import to_plain
from loadtests.tune.confirmation import Finalist, reasons, typical
from loadtests.tune.results import RateLevel, Score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import KNOBS, Candidate, Space
from loadtests.tune.tuner import Found

_TEMPLATE = "report.html.jinja"
_GREY = "#8a8d91"


@dataclass(frozen=True)
class Report:
    """What is said of a search.

    Attributes:
        settings: Of the search.
        space: All candidates.
        found: What the search came to.
        triton: The server's version.
    """

    settings: TuneSettings
    space: Space
    found: Found
    triton: str

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
        plain: dict[str, Any] = to_plain(
            {
                "ended": datetime.now(timezone.utc).isoformat(timespec="minutes"),
                "command": settings.command(),
                "model": settings.model,
                "objective": {"p99_ms": settings.p99_ms, "rate": settings.rate},
                "met": found.met,
                "winner": asdict(winner) if found.met else None,
                "shipped_is_best": bool(decision) and winner == self.space.shipped,
                "why": decision.why if decision else "",
                "closest": near and {"candidate": asdict(near[0]), "score": asdict(near[1])},
                "shipped": asdict(self.space.shipped),
                "confirmation": found.confirmation and asdict(found.confirmation),
                "finalists": [
                    {
                        "candidate": asdict(each.candidate),
                        "met": each.met,
                        "typical": typical(settings, each),
                        "rounds": [asdict(score) for score in each.rounds],
                    }
                    for each in found.finalists
                ],
                "ratios": [
                    {"to": asdict(candidate), **asdict(ratio)}
                    for candidate, ratio in (decision.ratios if decision else {}).items()
                ],
                "reasons": reasons(settings, self.space, found.trials, winner) if decision else {},
                "space": len(self.space.candidates),
                "seconds": found.seconds,
                "trials": [asdict(trial) for trial in found.trials],
                "machine": machine(),
                "versions": versions(self.triton),
            }
        )
        return plain

    def write(self, folder: Path) -> Path:
        """Writes the HTML file, and the JSON file beside it.

        Args:
            folder: Is made where it is missing.

        Returns:
            The HTML file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        page = folder / f"{stamp}-{self.settings.model}-tune.html"
        page.with_suffix(".json").write_text(json.dumps(self.facts, indent=1) + "\n")
        templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        html = templates.get_template(_TEMPLATE).render(
            facts=self.facts,
            settings=self.settings,
            space=self.space,
            found=self.found,
            chosen=self.chosen,
            near=self.closest,
            knobs=KNOBS,
            rows=self.finalist_rows(),
            chart=trade_off(self.found, self.space.shipped, self.chosen, self.settings.p99_ms),
            data=json.dumps(self.facts).replace("<", "\\u003c"),
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
    """Draws p99 over the rate for every level of every candidate.

    Args:
        found: What was measured.
        shipped: Is drawn beside the winner.
        winner: The config that was chosen, or came closest.
        limit_ms: The p99 that was asked for, if one was.

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
        _points(axes, others, "other candidates", _GREY, 14)
        _points(axes, of(shipped), "shipped", COLOURS[2], 34)
        if winner != shipped:
            _points(axes, of(winner), "chosen", COLOURS[0], 34)
        if found.confirmation:
            _points(axes, [found.confirmation.level], "last run", COLOURS[1], 110, marker="*")
        if limit_ms:
            axes.axhline(limit_ms, color=COLOURS[3], lw=1, linestyle="--", gid="objective")
        _scale(axes, [level for _, level in levels])
        axes.set_xlabel("right answers a second")
        axes.set_ylabel("p99, milliseconds")
        figure.legend(loc="outside upper left", ncols=5, fontsize=9)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    label = '<svg role="img" aria-label="Throughput and latency of every level" '
    return svg[svg.index("<svg") :].replace("<svg ", label, 1)


def _scale(axes: Any, levels: list[RateLevel]) -> None:
    """From no answers a second on; latencies on a logarithmic scale of two decades at least."""
    p99s = [each.p99 for each in levels] or [1.0]
    axes.set_yscale("log")
    axes.set_ylim(min(p99s) / 1.6, max(1.6 * max(p99s), 60 * min(p99s)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
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
