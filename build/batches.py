"""The order in which texts of different lengths are trained on."""

import random
from collections.abc import Iterator, Sequence

_BATCHES_SORTED_TOGETHER = 50


def batches(lengths: Sequence[int], *, size: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """Yields the row numbers of every batch: shuffled, but of similar lengths within a batch.

    Args:
        lengths: Of each text, in tokens.
        size: Texts in a batch.
        epochs: How often each text occurs.
        seed: Of the order.
    """
    order = random.Random(seed)  # noqa: S311 - it shuffles, it guards nothing
    for _ in range(epochs):
        rows = list(range(len(lengths)))
        order.shuffle(rows)
        epoch = []
        for start in range(0, len(rows), size * _BATCHES_SORTED_TOGETHER):
            block = rows[start : start + size * _BATCHES_SORTED_TOGETHER]
            block.sort(key=lambda row: lengths[row])
            epoch += [block[at : at + size] for at in range(0, len(block), size)]
        order.shuffle(epoch)
        yield from epoch
