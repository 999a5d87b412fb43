"""How the command line shows answers: a table for people, JSON lines for programs."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.errors import ServingError
from clients.fan_out import Answer

WIDEST = 100
"""Characters of a table, on a terminal that has as many."""


def print_json(console: Console, answers: Iterable[Answer[Any]]) -> None:
    """One JSON object a line for each input that was answered."""
    for answer in answers:
        if isinstance(answer.result, ServingError):
            continue
        fields = {
            "input": str(answer.given),
            **answer.result.fields(),
            "latency_ms": round(answer.seconds * 1e3, 3),
        }
        console.print(Text(json.dumps(fields)), soft_wrap=True)


def print_table(console: Console, answers: Iterable[Answer[Any]], header: bool = True) -> None:
    """A row for each input that was answered.

    The columns have the same place in every table, so that one without a header
    continues the one before.
    """
    table = Table(box=None, pad_edge=False, show_header=header, width=min(console.width, WIDEST))
    table.add_column("input", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("label", style="bold", min_width=10)
    table.add_column("confidence", justify="right", width=10)
    table.add_column("latency", justify="right", width=11)
    for answer in answers:
        if not isinstance(answer.result, ServingError):
            table.add_row(
                Text(" ".join(_printable(answer.given).split())),
                Text(answer.result.label),
                f"{answer.result.confidence:.1%}",
                f"{answer.seconds * 1e3:.1f} ms",
            )
    if table.row_count:
        console.print(table)


def print_errors(console: Console, answers: Iterable[Answer[Any]]) -> None:
    """A line for each input that was refused; a single one where the server was lost."""
    lost = []
    for answer in answers:
        if answer.lost:
            lost.append(answer)
        elif isinstance(answer.result, ServingError):
            _print_error(console, f"{_name(answer.given)}: {answer.result.message}")
    if lost and isinstance(lost[0].result, ServingError):
        _print_error(console, f"{lost[0].result.message}; unanswered inputs: {len(lost)}")


def _print_error(console: Console, message: str) -> None:
    console.print(Text(message, style="red"), soft_wrap=True)


def _name(given: object) -> str:
    """What tells an input from the others: a file's whole path, a text's beginning."""
    name = " ".join(_printable(given).split())
    if not isinstance(given, Path) and len(name) > 60:
        return f"{name[:59]}…"
    return name or "''"


def _printable(given: object) -> str:
    """Bytes that were not UTF-8 live on in a `str` as surrogates, which cannot be printed."""
    return str(given).encode(errors="replace").decode()
