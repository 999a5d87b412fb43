"""Prints for the person who ran the command, as long as there is one."""

import os

from rich.console import Console


def say(console: Console, message: str) -> None:
    """Prints a line; nothing any more once the terminal has been closed."""
    try:
        console.print(message)
    except OSError:
        # What could not be written is written again when Python ends, and would be its exit code.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, console.file.fileno())
        os.close(nowhere)
