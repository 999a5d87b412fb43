"""The standard streams: keys and lines as they arrive, and output that never fails."""

import io
import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO

_END = b"\x04"
_BACK = b"\x7f\x08"
_ESCAPE = b"\x1b"


@contextmanager
def pressed_keys(terminal: int) -> Iterator[Iterator[bytes | int]]:
    """Reads keys as soon as they are pressed, and restores the terminal afterwards.

    Ctrl-C interrupts as usual. Keys without a character, like the arrows, are ignored.

    Args:
        terminal: File descriptor of a terminal.

    Yields:
        The bytes of one or more characters; or, for the backspace key, how many
        characters to take back. Ends with Ctrl-D.
    """
    before = termios.tcgetattr(terminal)
    # At once, or what was typed ahead would be thrown away.
    tty.setcbreak(terminal, termios.TCSANOW)
    try:
        yield _keys(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _keys(terminal: int) -> Iterator[bytes | int]:
    while chunk := os.read(terminal, 1024):
        if chunk.startswith(_ESCAPE):
            continue
        typed, end, _ = chunk.partition(_END)
        for is_back, run in groupby(typed.replace(b"\r", b"\n"), _BACK.__contains__):
            piece = bytes(run)
            yield len(piece) if is_back else piece
        if end:
            return


def arriving_lines(stream: BinaryIO, max_lines: int) -> Iterator[list[bytes]]:
    """Groups lines by their arrival.

    Each group is what the stream holds at that moment, so a line that somebody types is
    not kept waiting for the next, and a file comes in groups as large as allowed.

    Args:
        stream: Bytes with a `read1`, like standard input's buffer.
        max_lines: The size of the largest group.

    Yields:
        One or more lines, without their ends; the empty ones are left out.
    """
    rest = b""
    while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
        *complete, rest = (rest + chunk).split(b"\n")
        yield from _groups(complete, max_lines)
    yield from _groups([rest], max_lines)


def _groups(lines: list[bytes], max_lines: int) -> Iterator[list[bytes]]:
    filled = [line.rstrip(b"\r") for line in lines if line.strip()]
    for start in range(0, len(filled), max_lines):
        yield filled[start : start + max_lines]


def print_anything() -> None:
    """Replaces characters that a terminal lacks, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
