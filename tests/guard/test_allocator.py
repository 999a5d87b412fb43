"""Memory that large bodies took goes back to the system."""

from __future__ import annotations

import psutil
import pytest

from server.guard.allocator import MAX_FREE_BYTES, Allocator

_BLOCK = 250_000
_COUNT = 256


def test_what_lies_free_below_a_block_in_use_goes_back_to_the_system() -> None:
    allocator, process = Allocator(), psutil.Process()
    if not allocator.free_bytes():
        pytest.skip("the C library is not glibc, or older than 2.33")
    # Freed, a large block has those that are a little smaller come from the heap.
    large = b"x" * (_BLOCK * 8)
    del large
    blocks = [bytes([n]) * _BLOCK for n in range(_COUNT)]
    above = bytes([1]) * _BLOCK
    blocks.clear()
    assert allocator.free_bytes() > MAX_FREE_BYTES
    before = process.memory_info().rss
    allocator.trim()
    assert process.memory_info().rss < before - MAX_FREE_BYTES
    assert len(above) == _BLOCK
