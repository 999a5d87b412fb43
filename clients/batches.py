"""Cutting many rows into requests that a model takes."""

from collections.abc import Iterator


def split(rows: int, max_rows: int) -> Iterator[slice]:
    """Cuts rows into batches of 1 to `max_rows`, in order, as few and as equal as possible.

    Equal, because 33 rows for a model that takes 32 are better served as 17 + 16
    than as 32 + 1.
    """
    if max_rows < 1:
        raise ValueError(f"a batch holds at least 1 row, got {max_rows}")
    batches = -(-rows // max_rows)
    for index in range(batches):
        yield slice(index * rows // batches, (index + 1) * rows // batches)
