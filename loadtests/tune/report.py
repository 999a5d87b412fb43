"""The report of a search: one HTML file that needs no network, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtests.report.machine import machine, versions
from loadtests.report.result import to_plain
from loadtests.tune.candidate import KNOBS, Candidate
from loadtests.tune.charts import trade_off
from loadtests.tune.confirmation import Finalist, typical
from loadtests.tune.explain_knobs import reasons
from loadtests.tune.journal import trial_as_dict
from loadtests.tune.objective import Objective, Score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Space
from loadtests.tune.tuner import Found

_TEMPLATE = "report.html.jinja"


def closest(found: Found, objective: Objective) -> tuple[Candidate, Score] | None:
    """Of those that were measured the one that came closest to the objective, or best met it."""
    scored = [(trial.candidate, trial.score) for trial in found.trials if trial.score]
    if any(score.met for _, score in scored) or objective.rate is not None:
        key = lambda pair: (pair[1].met, objective.goodness(pair[1]))  # noqa: E731
        return max(scored, key=key, default=None)
    return min(scored, key=lambda pair: pair[1].level.p99, default=None)


def report_as_dict(
    settings: TuneSettings, space: Space, found: Found, triton: str
) -> dict[str, Any]:
    """Everything that a report says, for JSON."""
    objective, verdict = settings.objective, found.verdict
    near = closest(found, objective)
    plain: dict[str, Any] = to_plain(
        {
            "ended": datetime.now(timezone.utc).isoformat(timespec="minutes"),
            "command": settings.command(),
            "model": settings.model,
            "objective": {"p99_ms": objective.p99_ms, "rate": objective.rate},
            "met": found.met,
            "winner": verdict.winner.candidate.as_dict() if verdict and found.met else None,
            "shipped_is_best": bool(verdict and verdict.winner.candidate == space.shipped),
            "why": verdict.why if verdict else "",
            "closest": {"candidate": near[0].as_dict(), "score": asdict(near[1])} if near else None,
            "shipped": space.shipped.as_dict(),
            "confirmation": asdict(found.confirmation) if found.confirmation else None,
            "finalists": [
                {
                    "candidate": each.candidate.as_dict(),
                    "met": each.met,
                    "typical": typical(objective, each),
                    "rounds": [asdict(score) for score in each.rounds],
                }
                for each in found.finalists
            ],
            "ratios": [
                {"to": candidate.as_dict(), **asdict(ratio)}
                for candidate, ratio in (verdict.ratios if verdict else {}).items()
            ],
            "reasons": reasons(objective, space, found.trials, verdict.winner.candidate)
            if verdict
            else {},
            "space": len(space.candidates),
            "seconds": found.seconds,
            "trials": [trial_as_dict(trial) for trial in found.trials],
            "machine": machine(),
            "versions": versions(triton),
        }
    )
    return plain


def write_report(
    settings: TuneSettings, space: Space, found: Found, facts: dict[str, Any], folder: Path
) -> tuple[Path, Path]:
    """Writes both files.

    Args:
        settings: Of the search.
        space: All candidates.
        found: What it came to.
        facts: What `report_as_dict` gave.
        folder: Is made where it is missing.

    Returns:
        The HTML file and the JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    page = folder / f"{stamp}-{settings.model}-tune.html"
    plain = page.with_suffix(".json")
    plain.write_text(json.dumps(facts, indent=1) + "\n")
    page.write_text(_page(settings, space, found, facts))
    return page, plain


def _page(settings: TuneSettings, space: Space, found: Found, facts: dict[str, Any]) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    near = closest(found, settings.objective)
    chosen = found.verdict.winner.candidate if found.verdict else near[0] if near else space.shipped
    return templates.get_template(_TEMPLATE).render(
        facts=facts,
        settings=settings,
        objective=settings.objective,
        space=space,
        found=found,
        chosen=chosen,
        near=near,
        knobs=KNOBS,
        rows=finalist_rows(settings.objective, found, space),
        chart=trade_off(found, space.shipped, chosen, settings.objective.p99_ms),
        data=json.dumps(facts).replace("<", "\\u003c"),
    )


def finalist_rows(objective: Objective, found: Found, space: Space) -> list[dict[str, str]]:
    """The finals as a table: the winner first, then the others, each with its ratio."""
    verdict = found.verdict

    def row(each: Finalist) -> dict[str, str]:
        values = [objective.value(score) for score in each.rounds]
        against = verdict.ratios.get(each.candidate) if verdict else None
        is_winner = verdict is not None and each is verdict.winner
        name = "shipped" if each.candidate == space.shipped else "candidate"
        compared = "misses the objective" if not each.met else ""
        if against and len(values) > 1:
            compared = f"{against.middle:.2f} × ({against.low:.2f} – {against.high:.2f})"
        elif against:
            compared = f"{against.middle:.2f} ×, once"
        return {
            "name": f"chosen, {name}" if is_winner else name,
            "config": each.candidate.title,
            "typical": f"{typical(objective, each):.1f}",
            "spread": f"{min(values):.1f} – {max(values):.1f}",
            "compared": compared,
        }

    return [row(each) for each in sorted(found.finalists, key=lambda e: _order(e, found))]


def _order(finalist: Finalist, found: Found) -> bool:
    return found.verdict is None or finalist is not found.verdict.winner
