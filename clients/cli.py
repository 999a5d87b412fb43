"""The command line: `python -m clients digit FILE...`, `text TEXT...` and `stream`."""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from clients.base import ServingClient
from clients.connecting import CONCURRENCY, Protocol, connected
from clients.errors import InvalidInputError
from clients.exit_codes import HELP, ExitCode
from clients.explanations import DigitExplanation
from clients.fan_out import fan_out
from clients.highlight import print_explanations
from clients.interactive import classify_standard_input
from clients.report import Reporter, print_json
from clients.results import Classification
from clients.terminal import arriving_lines

EXPLAIN_CONCURRENCY = 2
"""The same for explanations, each of which is the work of many classifications."""
GROUP = 64
"""Inputs that are answered before their results are printed."""

T = TypeVar("T")

app = typer.Typer(
    help=f"Classifies handwritten digits and texts with a running Triton.\n\n{HELP}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON object a line for each answered input: input, label, probabilities, "
        "latency_ms; with --explain also words, or heatmap.",
    ),
]


@app.command(epilog=HELP)
@connected()
def digit(
    files: Annotated[
        list[Path], typer.Argument(help="PNG or JPEG files, white on black.", show_default=False)
    ],
    *,
    client: ServingClient,
    as_json: JsonOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also tell which pixels speak for the answer.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the explanation of one file as a PNG.", show_default=False),
    ] = None,
) -> ExitCode:
    """Tells which digit each image file shows."""
    if out and not (explain and len(files) == 1):
        raise typer.BadParameter("needs --explain and one FILE", param_hint="--out")
    groups = (files[start : start + GROUP] for start in range(0, len(files), GROUP))

    def classify(file: Path) -> Classification:
        if explain:
            return _explain_digit(client, out, file)
        return client.classify_digits([_read(file)])[0]

    return _report_all(groups, classify, as_json=as_json, explain=explain)


@app.command(epilog=HELP)
@connected()
def text(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts; without any, each line of standard input that is not empty.",
            show_default=False,
        ),
    ] = None,
    *,
    client: ServingClient,
    as_json: JsonOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also tell which words speak for the answer.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=0, help="With --explain: random orders of the words; 0 for none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="With --explain: of the random orders.")] = 0,
) -> ExitCode:
    """Tells the sentiment of each text."""
    groups: Iterable[Sequence[str]] = [texts] if texts else _standard_input()

    def classify(line: str) -> Classification:
        if explain:
            return client.explain_text(line, samples, seed)
        return client.classify_texts([line])[0]

    return _report_all(groups, classify, as_json=as_json, explain=explain)


@app.command(epilog=HELP)
@connected(Protocol.GRPC)
def stream(
    *,
    client: ServingClient,
    as_json: JsonOption = False,
) -> ExitCode:
    """Tells the sentiment of one text while you type it, or while its lines arrive."""
    return classify_standard_input(client, as_json=as_json)


def _report_all(
    groups: Iterable[Sequence[T]],
    classify: Callable[[T], Classification],
    *,
    as_json: bool,
    explain: bool,
) -> ExitCode:
    """Classifies and prints group by group, until the end or until the server is lost."""
    reporter = Reporter(print_json if as_json else print_explanations if explain else None)
    for group in groups:
        calls = list(fan_out(group, classify, EXPLAIN_CONCURRENCY if explain else CONCURRENCY))
        reporter.report(calls)
        if any(call.lost for call in calls):
            break
    return reporter.code


def _explain_digit(client: ServingClient, out: Path | None, file: Path) -> DigitExplanation:
    explanation = client.explain_digit(_read(file))
    if out:
        try:
            out.write_bytes(explanation.overlay)
        except OSError as error:
            raise InvalidInputError(f"cannot write {out}: {error.strerror}") from error
    return explanation


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInputError(error.strerror or str(error)) from error


def _standard_input() -> Iterable[Sequence[str]]:
    """Groups of lines; bytes that are not UTF-8 stay in them, for the client to refuse."""
    found = False
    for lines in arriving_lines(sys.stdin.buffer, GROUP):
        found = True
        yield [line.decode(errors="surrogateescape") for line in lines]
    if not found:
        raise typer.BadParameter("standard input held no text", param_hint="TEXTS")
