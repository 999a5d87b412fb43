"""A terminal that is closed is no fault of the server's."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def test_what_nobody_can_read_does_not_change_how_a_process_ends() -> None:
    terminal, ours = pty.openpty()
    script = (
        "import sys\n"
        "from rich.console import Console\n"
        "from server.console import say\n"
        "console = Console(stderr=True)\n"
        "say(console, 'one')\n"
        "sys.stdin.readline()\n"
        "say(console, 'two')\n"
        "say(console, 'three')\n"
        "sys.exit(7)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stderr=ours, start_new_session=True
    )
    os.close(ours)
    assert os.read(terminal, 100) == b"one\r\n"
    os.close(terminal)
    process.communicate(b"\n")
    assert process.returncode == 7
