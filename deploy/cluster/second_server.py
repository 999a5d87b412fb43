"""A second server for a cluster of one, for as long as a command asks for it."""

from __future__ import annotations

from pathlib import Path

_FILENAME = "second-server"


def request_file(run_dir: Path) -> Path:
    """The file that asks for a second server; it holds the process id of the command."""
    return run_dir / _FILENAME


def is_requested(run_dir: Path) -> bool:
    """Whether a command that still runs asks for a second server."""
    try:
        pid = int(request_file(run_dir).read_text())
    except (OSError, ValueError):  # none, or one that is being written
        return False
    return Path(f"/proc/{pid}").exists()
