"""The command line: `python -m clients digit FILE...`, `text TEXT...` and `stream`."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from clients.access import Access
from clients.base import DEFAULT_TIMEOUT, ServingClient
from clients.errors import InvalidInputError
from clients.exit_codes import HELP, ExitCode
from clients.explanations import DigitExplanation
from clients.fan_out import fan_out
from clients.grpc_client import GrpcClient
from clients.highlight import print_explanations
from clients.http_client import HttpClient
from clients.interactive import classify_standard_input
from clients.report import Reporter, print_json
from clients.results import Classification
from clients.terminal import arriving_lines

CONCURRENCY = 8
"""Requests under way at the same time."""
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


class Protocol(str, Enum):
    """How to talk to the server."""

    HTTP = "http"
    GRPC = "grpc"


ProtocolOption = Annotated[Protocol, typer.Option(help="How to talk to the server.")]
UrlOption = Annotated[
    str | None,
    typer.Option(
        help="The server's host:port. By default TRITON_HTTP_URL or TRITON_GRPC_URL from the "
        "environment, else localhost:8000 or localhost:8001.",
        show_default=False,
    ),
]
TimeoutOption = Annotated[
    float, typer.Option(min=0.001, help="Seconds that an input may take, retries included.")
]
TlsOption = Annotated[
    bool, typer.Option("--tls", help="Encrypt. TRITON_TLS=1 in the environment does so too.")
]
CaOption = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        help="PEM file of the authority to trust, which asks for TLS; by default TRITON_CA from "
        "the environment.",
        show_default=False,
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        help="File whose first line ends with the API key; by default TRITON_API_KEY_FILE from "
        "the environment.",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON object a line for each answered input: input, label, probabilities, "
        "latency_ms; with --explain also words, or heatmap.",
    ),
]


@app.command(epilog=HELP)
def digit(
    files: Annotated[
        list[Path], typer.Argument(help="PNG or JPEG files, white on black.", show_default=False)
    ],
    *,
    protocol: ProtocolOption = Protocol.HTTP,
    url: UrlOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    tls: TlsOption = False,
    ca: CaOption = None,
    key_file: KeyOption = None,
    as_json: JsonOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also tell which pixels speak for the answer.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the explanation of one file as a PNG.", show_default=False),
    ] = None,
) -> None:
    """Tells which digit each image file shows."""
    if out and not (explain and len(files) == 1):
        raise typer.BadParameter("needs --explain and one FILE", param_hint="--out")
    groups = (files[start : start + GROUP] for start in range(0, len(files), GROUP))
    with connect(protocol, url, timeout, tls=tls, ca=ca, key_file=key_file) as client:

        def classify(file: Path) -> Classification:
            if explain:
                return _explain_digit(client, out, file)
            return client.classify_digits([_read(file)])[0]

        raise typer.Exit(_report_all(groups, classify, as_json=as_json, explain=explain))


@app.command(epilog=HELP)
def text(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts; without any, each line of standard input that is not empty.",
            show_default=False,
        ),
    ] = None,
    *,
    protocol: ProtocolOption = Protocol.HTTP,
    url: UrlOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    tls: TlsOption = False,
    ca: CaOption = None,
    key_file: KeyOption = None,
    as_json: JsonOption = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also tell which words speak for the answer.")
    ] = False,
    samples: Annotated[
        int, typer.Option(min=0, help="With --explain: random orders of the words; 0 for none.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="With --explain: of the random orders.")] = 0,
) -> None:
    """Tells the sentiment of each text."""
    groups: Iterable[Sequence[str]] = [texts] if texts else _standard_input()
    with connect(protocol, url, timeout, tls=tls, ca=ca, key_file=key_file) as client:

        def classify(line: str) -> Classification:
            if explain:
                return client.explain_text(line, samples, seed)
            return client.classify_texts([line])[0]

        raise typer.Exit(_report_all(groups, classify, as_json=as_json, explain=explain))


@app.command(epilog=HELP)
def stream(
    *,
    protocol: ProtocolOption = Protocol.GRPC,
    url: UrlOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    tls: TlsOption = False,
    ca: CaOption = None,
    key_file: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tells the sentiment of one text while you type it, or while its lines arrive."""
    with connect(protocol, url, timeout, tls=tls, ca=ca, key_file=key_file) as client:
        raise typer.Exit(classify_standard_input(client, as_json=as_json))


def connect(
    protocol: Protocol,
    url: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    *,
    tls: bool = False,
    ca: Path | None = None,
    key_file: Path | None = None,
) -> ServingClient:
    """A client of that protocol; what is not given comes from the environment.

    Raises:
        typer.BadParameter: The URL or a file is invalid.
    """
    client = HttpClient if protocol is Protocol.HTTP else GrpcClient
    url = url or os.environ.get(f"TRITON_{protocol.name}_URL") or None
    hint = "--ca, --api-key-file"
    try:
        access = Access.from_environment(ca, key_file, tls=tls)
        hint = "--url"
        return client(url, timeout=timeout, concurrency=CONCURRENCY, access=access)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from error


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
