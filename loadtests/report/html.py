"""The report of a run: one HTML file that needs no network, the same as JSON, intervals as CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtests.load.request_log import QUANTILES
from loadtests.load.run import Run
from loadtests.report.caveats import notes, warm_up_note
from loadtests.report.charts import charts
from loadtests.report.machine import machine, versions
from loadtests.report.metrics import PARTS
from loadtests.report.result import Interval, Result, result_as_dict, to_plain
from loadtests.report.templates import template

_TEMPLATE = Path(__file__).parent / "report.html.jinja"


def report_as_dict(run: Run, result: Result) -> dict[str, Any]:
    """The whole report, for JSON; what was not measured is null."""
    settings = run.settings
    return {
        "began": datetime.fromtimestamp(run.began).astimezone().isoformat(timespec="seconds"),
        "command": _command(run),
        "settings": to_plain(settings.as_dict()),
        "seed": settings.seed,
        "machine": machine(),
        "versions": versions(run.triton),
        "config": run.config,
        "warm_up": {"seconds": settings.warm_up, "why": warm_up_note(run)},
        "notes": notes(run, result),
        "failures": run.messages,
        "result": result_as_dict(result),
    }


def _command(run: Run) -> str:
    """The command that repeats the run, with the settings that chose the server."""
    config = os.environ.get("CONFIG")
    chosen = [f"CONFIG={config}"] if config and run.target.is_ours else []
    where = [] if run.target.is_ours else [f"URL={run.target.http}"]
    return " ".join([run.settings.command(), *chosen, *where])


def write_report(run: Run, result: Result, folder: Path) -> tuple[Path, Path]:
    """Writes the report as HTML and JSON, and the intervals as CSV, under one name.

    Returns:
        The HTML file and the JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = report_as_dict(run, result)
    stamp = datetime.fromtimestamp(run.began).strftime("%Y%m%d-%H%M%S")
    settings = run.settings
    name = f"{stamp}-{settings.model}-{settings.protocol.value}-{settings.shape.value}"
    page, plain = folder / f"{name}.html", folder / f"{name}.json"
    plain.write_text(json.dumps(facts, indent=1) + "\n")
    drawn = charts(run, result)
    page.write_text(
        template(_TEMPLATE).render(
            facts=facts, result=result, run=run, charts=drawn, parts=PARTS, quantiles=QUANTILES
        )
    )
    _write_intervals(result.intervals, folder / f"{name}.csv")
    return page, plain


def _write_intervals(intervals: Sequence[Interval], path: Path) -> None:
    """A line for each interval; nested fields as `split.queue`, what was not measured empty."""
    rows = []
    for interval in intervals:
        row: dict[str, Any] = {}
        for name, value in to_plain(interval).items():
            nested = value.items() if isinstance(value, dict) else [("", value)]
            row |= {f"{name}.{key}".rstrip("."): item for key, item in nested}
        rows.append(row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
