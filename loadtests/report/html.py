"""The report of a run: one HTML file that needs no network, and the same as JSON."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from loadtests.load.request_log import QUANTILES
from loadtests.load.run import Run
from loadtests.report.caveats import notes, warm_up_note
from loadtests.report.charts import charts
from loadtests.report.machine import machine, versions
from loadtests.report.metrics import PARTS
from loadtests.report.result import Result, result_as_dict, to_plain

_TEMPLATE = "report.html.jinja"


def report_as_dict(run: Run, result: Result) -> dict[str, Any]:
    """Everything that a report says, for JSON; what was not measured is null."""
    settings = run.settings
    plain: dict[str, Any] = to_plain(settings.as_dict())
    return {
        "began": datetime.fromtimestamp(run.began).astimezone().isoformat(timespec="seconds"),
        "command": _command(run),
        "settings": plain,
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
    """What repeats the run, with what chose the server."""
    config = os.environ.get("CONFIG")
    chosen = [f"CONFIG={config}"] if config and run.target.is_ours else []
    where = [] if run.target.is_ours else [f"URL={run.target.http}"]
    return " ".join([run.settings.command(), *chosen, *where])


def write_report(run: Run, result: Result, folder: Path) -> tuple[Path, Path]:
    """Writes both files.

    Args:
        run: What was recorded.
        result: The same, summed up.
        folder: Is made where it is missing.

    Returns:
        The HTML file and the JSON file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    facts = report_as_dict(run, result)
    data = json.dumps(facts, indent=1)
    stamp = datetime.fromtimestamp(run.began).strftime("%Y%m%d-%H%M%S")
    settings = run.settings
    name = f"{stamp}-{settings.model}-{settings.protocol.value}-{settings.shape.value}"
    page, plain = folder / f"{name}.html", folder / f"{name}.json"
    plain.write_text(data + "\n")
    page.write_text(_page(run, result, facts, data))
    return page, plain


def _page(run: Run, result: Result, facts: dict[str, Any], data: str) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(_TEMPLATE).render(
        facts=facts,
        result=result,
        run=run,
        charts=charts(run, result),
        parts=PARTS,
        quantiles=list(QUANTILES),
        # So that no text in it can end the script element.
        data=data.replace("<", "\\u003c"),
    )
