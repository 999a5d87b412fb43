"""What the standard streams can show."""

import io
import sys


def print_anything() -> None:
    """Has characters that a terminal lacks replaced, where Python would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
