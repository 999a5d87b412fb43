"""Lines from a stream, as soon as they are there."""

from collections.abc import Iterator
from typing import BinaryIO


def arriving_lines(stream: BinaryIO, most: int) -> Iterator[list[bytes]]:
    """Groups lines by their arrival.

    Each group is what the stream holds at that moment, so a line that somebody types is
    not kept waiting for the next, and a file comes in groups as large as allowed.

    Args:
        stream: Bytes with a `read1`, like standard input's buffer.
        most: The most lines of a group.

    Yields:
        One or more lines, without their ends; the empty ones are left out.
    """
    rest = b""
    while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]
        *complete, rest = (rest + chunk).split(b"\n")
        yield from _groups(complete, most)
    yield from _groups([rest], most)


def _groups(lines: list[bytes], most: int) -> Iterator[list[bytes]]:
    filled = [line.rstrip(b"\r") for line in lines if line.strip()]
    for start in range(0, len(filled), most):
        yield filled[start : start + most]
