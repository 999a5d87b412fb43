"""Lines of standard input, grouped as they arrive."""

import io
import os

from hypothesis import given
from hypothesis import strategies as st

from clients.terminal import arriving_lines


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b" "))),
    most=st.integers(1, 7),
)
def test_every_line_that_is_not_blank_comes_once_and_in_order(
    lines: list[bytes], most: int
) -> None:
    groups = list(arriving_lines(io.BytesIO(b"\n".join(lines)), most))
    assert all(1 <= len(group) <= most for group in groups)
    got = [line for group in groups for line in group]
    assert got == [line.rstrip(b"\r") for line in lines if line.strip()]


def test_a_line_does_not_wait_for_the_next() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        groups = arriving_lines(stream, 8)
        pipe.write(b"first\nsec")
        assert next(groups) == [b"first"]
        pipe.write(b"ond\nthird\n")
        assert next(groups) == [b"second", b"third"]
