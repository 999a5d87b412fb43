"""What each test says of another Triton, such as NVIDIA's container with its C++ backend.

A test speaks of every server, unless it is marked with what the C++ backend does instead:

    @pytest.mark.ours("it fails every request of the batch")

Such a test is skipped where TRITON_URL names another server. What speaks of every server and is
known to fail there stands in `EXCEPTIONS`, and is expected to fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

EXCEPTIONS: Mapping[str, str] = {
    "test_sequences.py::test_state_may_change_its_shape": (
        "a batch of states gets the shape of its first one, so that longer ones are cut"
    ),
    "test_splits.py::test_any_mixture_of_ragged_requests": (
        "where the first request of a batch has no elements, its neighbours' are never copied, "
        "and the model reads uninitialised memory"
    ),
}
"""Why the C++ backend fails a test, by file and function."""


def mark_for_another_server(items: Iterable[pytest.Item], folder: Path) -> None:
    """Skips what speaks of our backend alone, and expects the exceptions to fail.

    An exception may pass by chance, or because a newer server does it right: pytest calls that
    XPASS and does not fail.

    Args:
        items: The tests that were collected.
        folder: Where the suite lies; other tests stay as they are.
    """
    for item in items:
        if item.path.parent != folder:
            continue
        if ours := item.get_closest_marker("ours"):
            item.add_marker(pytest.mark.skip(reason=f"of our backend alone: {ours.args[0]}"))
        function = item.originalname if isinstance(item, pytest.Function) else item.name
        if reason := EXCEPTIONS.get(f"{item.path.name}::{function}"):
            item.add_marker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=False))
