"""How the command line shows results: tables for people, JSON lines for programs."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clients.errors import AccessDeniedError, ServingError, UnavailableError, WrongServerError
from clients.exit_codes import ExitCode, exit_code
from clients.fan_out import CallResult

MAX_WIDTH = 100
"""Characters of a table, on a terminal that has as many."""

_SETTINGS = "--url, TRITON_HTTP_URL or TRITON_GRPC_URL"
_ADVICE: tuple[tuple[type[ServingError], str], ...] = (
    (WrongServerError, f"name Triton's own service with {_SETTINGS}"),
    (UnavailableError, f"start a server with make serve, or name another with {_SETTINGS}"),
    (AccessDeniedError, "give a key with --api-key-file or TRITON_API_KEY_FILE"),
)

Show = Callable[[Console, Sequence[CallResult[Any]]], None]


class Reporter:
    """Prints results to standard output and errors to standard error.

    Args:
        show: Prints the results of calls that were answered; by default one table.

    Attributes:
        code: The exit code of all that was reported so far.
    """

    def __init__(self, show: Show | None = None) -> None:
        self.code = ExitCode.OK
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)
        self._show = show or print_table
        # A later table continues the first one.
        self._show_next = show or partial(print_table, header=False)

    def report(self, calls: Sequence[CallResult[Any]]) -> None:
        """Prints the results of these calls."""
        self._show(self._out, calls)
        self._show = self._show_next
        print_errors(self._err, calls)
        errors = [call.result for call in calls if isinstance(call.result, ServingError)]
        self.code = max([self.code, *map(exit_code, errors)])


def print_json(console: Console, calls: Iterable[CallResult[Any]]) -> None:
    """One JSON object a line for each input that was answered."""
    for call in calls:
        if isinstance(call.result, ServingError):
            continue
        fields = {
            "input": str(call.input),
            **call.result.fields(),
            "latency_ms": round(call.seconds * 1e3, 3),
        }
        console.print(Text(json.dumps(fields)), soft_wrap=True)


def print_table(console: Console, calls: Iterable[CallResult[Any]], *, header: bool = True) -> None:
    """A row for each input that was answered.

    The columns have the same place in every table, so that one without a header
    continues the one before.
    """
    width = min(console.width, MAX_WIDTH)
    table = Table(box=None, pad_edge=False, show_header=header, width=width)
    table.add_column("input", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("label", style="bold", min_width=10)
    table.add_column("confidence", justify="right", width=10)
    table.add_column("latency", justify="right", width=11)
    for call in calls:
        if not isinstance(call.result, ServingError):
            table.add_row(
                Text(_one_line(call.input)),
                Text(call.result.label),
                f"{call.result.confidence:.1%}",
                f"{call.seconds * 1e3:.1f} ms",
            )
    if table.row_count:
        console.print(table)


def print_errors(console: Console, calls: Iterable[CallResult[Any]]) -> None:
    """A line for each input that was refused; a single one where the server was lost."""
    lost = []
    for call in calls:
        if isinstance(call.result, ServingError):
            if call.lost:
                lost.append(call.result)
            else:
                _print_error(console, f"{_name(call.input)}: {call.result.message}")
    if lost:
        _print_error(console, f"{with_advice(lost[0])}; unanswered inputs: {len(lost)}")


def with_advice(error: ServingError) -> str:
    """The message, and what to do where no server can be used."""
    advice = next((words for kind, words in _ADVICE if isinstance(error, kind)), "")
    return f"{error.message}; {advice}" if advice else error.message


def _print_error(console: Console, message: str) -> None:
    console.print(Text(message, style="red"), soft_wrap=True)


def _name(given: object) -> str:
    """What tells an input from the others: a file's whole path, a text's beginning."""
    name = _one_line(given)
    if not isinstance(given, Path) and len(name) > 60:
        return f"{name[:59]}…"
    return name or "''"


def _one_line(given: object) -> str:
    # Bytes that were not UTF-8 live on in a `str` as surrogates, which cannot be printed.
    return " ".join(str(given).encode(errors="replace").decode().split())
