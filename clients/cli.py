"""The command line: `python -m clients digit FILE...`, `text TEXT...` and `stream`."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from clients.access import Access
from clients.base import DEFAULT_TIMEOUT, ServingClient
from clients.errors import InvalidInputError, ServingError
from clients.exit_codes import HELP, ExitCode, exit_code
from clients.explanations import DigitExplanation
from clients.fan_out import Answer, answer_each
from clients.grpc_client import GrpcClient
from clients.highlight import print_explanations
from clients.http_client import HttpClient
from clients.interactive import follow
from clients.lines import arriving_lines
from clients.report import print_errors, print_json, print_table
from clients.results import Classification

AT_ONCE = 8
"""Requests under way at the same time."""
EXPLAINED_AT_ONCE = 2
"""The same of explanations."""
GROUP = 64
"""Inputs that are answered before their answers are printed."""

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
AuthorityOption = Annotated[
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
    authority: AuthorityOption = None,
    api_key_file: KeyOption = None,
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
    with connect(protocol, url, timeout, _access(tls, authority, api_key_file)) as client:
        groups = (files[start : start + GROUP] for start in range(0, len(files), GROUP))
        if explain:
            code = _explain(groups, lambda file: _explained_digit(client, file, out), as_json)
        else:
            code = _run(groups, lambda file: client.classify_digits([_read(file)])[0], as_json)
    raise typer.Exit(code)


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
    authority: AuthorityOption = None,
    api_key_file: KeyOption = None,
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
    with connect(protocol, url, timeout, _access(tls, authority, api_key_file)) as client:
        if explain:
            code = _explain(groups, lambda line: client.explain_text(line, samples, seed), as_json)
        else:
            code = _run(groups, lambda line: client.classify_texts([line])[0], as_json)
    raise typer.Exit(code)


@app.command(epilog=HELP)
def stream(
    *,
    protocol: ProtocolOption = Protocol.GRPC,
    url: UrlOption = None,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    tls: TlsOption = False,
    authority: AuthorityOption = None,
    api_key_file: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tells the sentiment of one text while you type it, or while its lines arrive."""
    with connect(protocol, url, timeout, _access(tls, authority, api_key_file)) as client:
        code = follow(client, as_json)
    raise typer.Exit(code)


def connect(
    protocol: Protocol, url: str | None, timeout: float, access: Access | None = None
) -> ServingClient:
    """A client of that protocol; what is not given, URL or access, is the environment's.

    Raises:
        typer.BadParameter: The URL is none.
    """
    url = url or os.environ.get(f"TRITON_{protocol.name}_URL")
    client = HttpClient if protocol is Protocol.HTTP else GrpcClient
    try:
        access = access or Access.from_environment()
        return client(*filter(None, [url]), timeout=timeout, concurrency=AT_ONCE, access=access)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error


def _access(tls: bool, authority: Path | None, api_key_file: Path | None) -> Access:
    try:
        return Access.from_environment(authority, api_key_file, tls=tls)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--ca, --api-key-file") from error


def _run(
    groups: Iterable[Sequence[T]], classify: Callable[[T], Classification], as_json: bool
) -> ExitCode:
    """Answers and prints group by group, until the end or until the server is gone."""
    if as_json:
        return _each(groups, classify, AT_ONCE, lambda out, answers, _: print_json(out, answers))
    return _each(groups, classify, AT_ONCE, print_table)


def _explain(
    groups: Iterable[Sequence[T]], explain: Callable[[T], Classification], as_json: bool
) -> ExitCode:
    """Likewise, with fewer at once: each is the work of many classifications."""
    show = print_json if as_json else print_explanations
    return _each(groups, explain, EXPLAINED_AT_ONCE, lambda out, answers, _: show(out, answers))


def _each(
    groups: Iterable[Sequence[T]],
    classify: Callable[[T], Classification],
    at_once: int,
    show: Callable[[Console, list[Answer[T]], bool], None],
) -> ExitCode:
    """Answers group by group; `show` is told whether a group is the first one."""
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    code = ExitCode.OK
    for index, group in enumerate(groups):
        answers = list(answer_each(group, classify, at_once))
        show(out, answers, index == 0)
        print_errors(err, answers)
        errors = [answer.result for answer in answers if isinstance(answer.result, ServingError)]
        code = max([code, *map(exit_code, errors)])
        if any(answer.lost for answer in answers):
            break
    return code


def _explained_digit(client: ServingClient, file: Path, out: Path | None) -> DigitExplanation:
    explanation = client.explain_digit(_read(file))
    if out:
        try:
            out.write_bytes(explanation.overlay)
        except OSError as error:
            message = f"cannot write {out}: {error.strerror}"
            raise InvalidInputError(message) from error
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
