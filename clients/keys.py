"""Keys from a terminal, one by one."""

import os
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

_END = b"\x04"
_BACK = b"\x7f\x08"
_ESCAPE = b"\x1b"


@contextmanager
def pressed_keys(terminal: int) -> Iterator[Iterator[bytes | int]]:
    """Gives what is typed, as soon as it is typed; the terminal is as it was afterwards.

    Ctrl-C interrupts as usual. Keys that give no character, like the arrows, are
    passed over.

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
        yield from _split(typed.replace(b"\r", b"\n"))
        if end:
            return


def _split(typed: bytes) -> Iterator[bytes | int]:
    """Characters and backspaces in their order, each kind together."""
    start = 0
    while start < len(typed):
        is_back = typed[start] in _BACK
        end = start
        while end < len(typed) and (typed[end] in _BACK) == is_back:
            end += 1
        yield end - start if is_back else typed[start:end]
        start = end
