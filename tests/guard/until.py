"""Waits for what a test has set going."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60
"""For anything to happen at all; no test waits so long if it passes."""


def until(condition: Callable[[], bool]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
