"""The results as JSON, as an HTML page in the style of the load tests' report, and as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.gpu_check.findings import Cell, Status, StepResult, Table, write_json
from loadtests.gpu_check.settings import CheckSettings
from loadtests.report.templates import template

if TYPE_CHECKING:
    from loadtests.gpu_check.check import Check

SCHEMA = 1
JSON_FILE, PAGE_FILE, MARKDOWN_FILE = "gpu-report.json", "gpu-report.html", "gpu-report.md"
_FOLDER = Path(__file__).parent
_PLACES = {"out", "kept"}
"""Settings that say nothing outside this machine."""
_BAR = 0.34
"""Inches that a bar takes."""


def check(check: Check) -> None:
    """Step 7: writes the page from the results of the steps before it."""
    out = check.settings.out
    report = json.loads((out / JSON_FILE).read_text())
    (out / PAGE_FILE).write_text(page(report))
    check.findings.fact("page", out / PAGE_FILE)


def write_results(
    settings: CheckSettings, began: str, results: Sequence[StepResult], code: int | None
) -> None:
    """Writes what is known so far, as JSON and as Markdown; `code` is None until the end."""
    report = {
        "schema": SCHEMA,
        "began": began,
        "device": settings.device,
        "command": command(settings),
        "settings": settings.model_dump(mode="json", exclude=_PLACES),
        "exit_code": code,
        "steps": [asdict(result) for result in results],
    }
    write_json(settings.out / JSON_FILE, report)
    plain = json.loads((settings.out / JSON_FILE).read_text())
    (settings.out / MARKDOWN_FILE).write_text(markdown(plain))


def command(settings: CheckSettings) -> str:
    """What repeats the check."""
    changed = {
        name: value
        for name, value in settings.model_dump(mode="json", exclude=_PLACES).items()
        if value != CheckSettings.model_fields[name].default
    }
    words = [f"{name.upper()}={value}" for name, value in changed.items()]
    return " ".join(["make gpu-check", *words])


def page(report: dict[str, Any]) -> str:
    """The page, which needs no network."""
    return template(_FOLDER / "report.html.jinja").render(
        report=report,
        title=title(report),
        tables=lambda step: [(Table(**each), drawn(Table(**each))) for each in step["tables"]],
        shown=shown,
    )


def markdown(report: dict[str, Any]) -> str:
    """A section for docs/gpu.md: what was measured, on which card."""
    return template(_FOLDER / "report.md.jinja").render(
        report=report,
        title=title(report),
        tables=lambda step: [Table(**each) for each in step["tables"] if each["rows"]],
        shown=shown,
    )


def title(report: dict[str, Any]) -> str:
    """The card's name, or that a CPU computed."""
    facts: dict[str, str] = next(
        (step["facts"] for step in report["steps"] if step["name"] == "machine"), {}
    )
    if report["device"] == "cpu":
        return f"a rehearsal on a CPU ({facts.get('processor', 'unknown')}): nothing of a GPU"
    cards = [value for name, value in facts.items() if name.endswith(", name")]
    return ", ".join(cards) or "no GPU"


def shown(cell: Cell) -> str:
    """A cell as text: three or more digits of a figure, a dash where nothing was measured."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, str):
        return cell
    size = abs(cell)
    if isinstance(cell, int) or size >= 1000:
        return f"{cell:,.0f}"
    if size == 0 or size >= 0.01:
        return f"{cell:.3g}"
    return f"{cell:.1e}"


def drawn(table: Table) -> str:
    """An SVG element with a bar for each row; empty where there is nothing to draw."""
    if not table.chart or table.chart not in table.columns or not table.rows:
        return ""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from loadtests.report.charts import COLOURS, STYLE, svg_element

    column = table.columns.index(table.chart)
    bars = [
        (", ".join(map(str, row[: table.names])), float(row[column] or 0.0)) for row in table.rows
    ]
    groups = list(dict.fromkeys(str(row[0]) for row in table.rows))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, _BAR * len(bars) + 0.7), layout="constrained")
        axes = figure.add_subplot()
        for place, (row, (name, value)) in enumerate(zip(table.rows, bars, strict=True)):
            colour = COLOURS[groups.index(str(row[0])) % len(COLOURS)]
            (bar,) = axes.barh(place, value, color=colour)
            bar.set_gid(name)
            axes.annotate(
                shown(value),
                (value, place),
                xytext=(4, 0),
                va="center",
                fontsize=9,
                textcoords="offset points",
            )
        axes.set_yticks(range(len(bars)), [name for name, _ in bars])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(table.chart)
        return svg_element(figure, table.title)


def statuses(report: dict[str, Any]) -> dict[str, Status]:
    """What became of each step."""
    return {step["name"]: Status(step["status"]) for step in report["steps"]}
