"""Keys from a terminal, as they are pressed."""

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby

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
