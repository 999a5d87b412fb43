"""Cutting many rows into requests that a model takes."""

from collections.abc import Iterator


def split(rows: int, largest: int) -> Iterator[slice]:
    """Cuts rows into batches, in order, as few and as equal as possible.

    Equal, because 33 rows for a model that takes 32 are better served as 17 + 16
    than as 32 + 1.

    Args:
        rows: How many there are.
        largest: The most rows of one batch; 1 or more.

    Yields:
        The place of each batch among the rows; 1 to `largest` of them.
    """
    if largest < 1:
        raise ValueError(f"a batch holds at least 1 row, got {largest}")
    batches = -(-rows // largest)
    for index in range(batches):
        yield slice(index * rows // batches, (index + 1) * rows // batches)
