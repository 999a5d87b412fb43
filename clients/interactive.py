"""The sentiment of standard input as it arrives: redrawn in place, or a line for each piece."""

import sys
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from clients.base import ServingClient
from clients.errors import ServingError
from clients.exit_codes import ExitCode, exit_code
from clients.fan_out import timed_call
from clients.report import Reporter, print_json
from clients.results import TextResult
from clients.terminal import arriving_lines, pressed_keys

_BAR_WIDTH = 30
"""Characters."""
_MAX_SHOWN = 500
"""Characters at the end of the text that stay in sight."""


def classify_standard_input(client: ServingClient, *, as_json: bool) -> ExitCode:
    """Classifies standard input as it arrives, until it ends.

    On a terminal every key counts at once and the result is redrawn; lines that are
    piped in are sent as they come. Where the results do not go to a terminal, or as
    JSON, there is one for each line.
    """
    on_terminal = sys.stdout.isatty() and not as_json
    if on_terminal and sys.stdin.isatty():
        with pressed_keys(sys.stdin.fileno()) as keys:
            return _redraw(client, keys)
    lines = (line for group in arriving_lines(sys.stdin.buffer, 1) for line in group)
    if on_terminal:
        return _redraw(client, (line + b"\n" for line in lines))
    return _print_lines(client, lines, as_json=as_json)


class _EditableText:
    """A text that is being typed, and the stream that it is sent on."""

    def __init__(self, client: ServingClient) -> None:
        self.text = b""
        self._client = client
        self._stream = client.stream()

    def append(self, piece: bytes) -> TextResult:
        """Sends a piece."""
        result = self._stream.send(piece)
        self.text += piece
        return result

    def delete(self, characters: int) -> TextResult:
        """Deletes the last characters; what was sent stays sent, so the rest is sent anew."""
        self.text = self.text.decode(errors="ignore")[:-characters].encode()
        self._stream.close()
        self._stream = self._client.stream()
        return self._stream.send(self.text)

    def close(self) -> None:
        """Ends the stream."""
        self._stream.close()


def _redraw(client: ServingClient, pieces: Iterator[bytes | int]) -> ExitCode:
    """Redraws text and result after each piece; a number deletes that many characters."""
    typed, code = _EditableText(client), ExitCode.OK
    below = Text("Type; Ctrl-D ends.", style="dim")
    try:
        with Live(below, console=Console(highlight=False), auto_refresh=False) as live:
            for piece in pieces:
                try:
                    result = typed.delete(piece) if isinstance(piece, int) else typed.append(piece)
                    below = _bar(result)
                except ServingError as error:
                    code = max(code, exit_code(error))
                    below = Text(error.message, style="red")
                live.update(Group(_tail(typed.text), below), refresh=True)
                if code > ExitCode.REFUSED:
                    break
    finally:
        typed.close()
    return code


def _print_lines(client: ServingClient, lines: Iterator[bytes], *, as_json: bool) -> ExitCode:
    """Prints the result of all lines so far after each line."""
    reporter = Reporter(print_json if as_json else None)
    with client.stream() as stream:

        def send(line: str) -> TextResult:
            return stream.send(line.encode(errors="surrogateescape") + b"\n")

        for line in lines:
            reporter.report([timed_call(send, line.decode(errors="surrogateescape"))])
            if reporter.code > ExitCode.REFUSED:
                break
    return reporter.code


def _tail(text: bytes) -> Text:
    """The end of the text, in which nothing can move the cursor."""
    shown = text.decode(errors="ignore")[-_MAX_SHOWN:]
    return Text("".join(c if c.isprintable() or c == "\n" else " " for c in shown))


def _bar(result: TextResult) -> Text:
    filled = round(result.probabilities[-1] * _BAR_WIDTH)
    style = "green" if result.probabilities[-1] > 0.5 else "red"
    bar = Text("█" * filled, style="green") + Text("█" * (_BAR_WIDTH - filled), style="red")
    return Text.assemble(bar, " ", (f"{result.label} {result.confidence:.1%}", f"bold {style}"))
