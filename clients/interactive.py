"""How the command line follows a text: a verdict that is redrawn, or a line for each piece."""

import sys
import time
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clients.base import ServingClient
from clients.errors import ServingError
from clients.exit_codes import ExitCode, exit_code
from clients.fan_out import Answer
from clients.keys import pressed_keys
from clients.lines import arriving_lines
from clients.report import print_errors, print_json, print_table
from clients.results import TextResult

_BAR = 30
"""Characters."""
_SHOWN = 500
"""Characters at the end of the text that stay in sight."""


def follow(client: ServingClient, as_json: bool) -> ExitCode:
    """Classifies standard input while it comes, until it ends.

    On a terminal every key counts at once and the verdict is redrawn; lines that are
    piped in are sent as they come. Where the answers do not go to a terminal, or as
    JSON, there is one for each line.
    """
    on_terminal = sys.stdout.isatty() and not as_json
    if on_terminal and sys.stdin.isatty():
        with pressed_keys(sys.stdin.fileno()) as keys:
            return _draw(client, keys)
    lines = (line for group in arriving_lines(sys.stdin.buffer, 1) for line in group)
    if on_terminal:
        return _draw(client, (line + b"\n" for line in lines))
    return _print(client, lines, as_json)


class _Typed:
    """A text that is typed, and the stream that it is sent on."""

    def __init__(self, client: ServingClient) -> None:
        self.text = b""
        self._client = client
        self._stream = client.stream()

    def add(self, piece: bytes) -> TextResult:
        """Sends a piece."""
        result = self._stream.send(piece)
        self.text += piece
        return result

    def take_back(self, characters: int) -> TextResult:
        """Shortens the text; what was sent stays sent, so the rest is sent as another one."""
        self.text = self.text.decode(errors="ignore")[:-characters].encode()
        self._stream.close()
        self._stream = self._client.stream()
        return self._stream.send(self.text)

    def close(self) -> None:
        """Ends the stream."""
        self._stream.close()


def _draw(client: ServingClient, pieces: Iterator[bytes | int]) -> ExitCode:
    """Redraws text and verdict after each piece; a number takes back that many characters."""
    typed, code = _Typed(client), ExitCode.OK
    below = Text("Type; Ctrl-D ends.", style="dim")
    try:
        with Live(below, console=Console(highlight=False), auto_refresh=False) as live:
            for piece in pieces:
                try:
                    below = _verdict(
                        typed.take_back(piece) if isinstance(piece, int) else typed.add(piece)
                    )
                except ServingError as error:
                    code = max(code, exit_code(error))
                    below = Text(error.message, style="red")
                live.update(Group(_tail(typed.text), below), refresh=True)
                if code > ExitCode.REFUSED:
                    break
    finally:
        typed.close()
    return code


def _print(client: ServingClient, lines: Iterator[bytes], as_json: bool) -> ExitCode:
    """Prints the answer to all lines so far after each line."""
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    code = ExitCode.OK
    with client.stream() as stream:
        for index, line in enumerate(lines):
            start = time.perf_counter()
            given = line.decode(errors="surrogateescape")
            result: TextResult | ServingError
            try:
                result = stream.send(line + b"\n")
            except ServingError as error:
                result = error
                code = max(code, exit_code(error))
            answers = [Answer(given, result, time.perf_counter() - start)]
            if as_json:
                print_json(out, answers)
            else:
                print_table(out, answers, header=index == 0)
            print_errors(err, answers)
            if code > ExitCode.REFUSED:
                break
    return code


def _tail(text: bytes) -> Text:
    """The end of the text, in which nothing can move the cursor."""
    shown = text.decode(errors="ignore")[-_SHOWN:]
    return Text("".join(c if c.isprintable() or c == "\n" else " " for c in shown))


def _verdict(result: TextResult) -> Text:
    filled = round(result.probabilities[-1] * _BAR)
    style = "green" if result.probabilities[-1] > 0.5 else "red"
    bar = Text("█" * filled, style="green") + Text("█" * (_BAR - filled), style="red")
    return Text.assemble(bar, " ", (f"{result.label} {result.confidence:.1%}", f"bold {style}"))
