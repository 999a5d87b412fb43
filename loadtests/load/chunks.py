"""Texts cut into pieces, and what the recurrent network takes for the text so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from loadtests.load.network import Tensors

MAX_PIECES = 8
"""Of one text."""
STATE = 128
"""Numbers that the network remembers of a text; docs/streaming.md."""
_PADDING = 0


def cuts(length: int, chance: np.random.Generator) -> Iterator[tuple[int, int, bool]]:
    """Cuts something anywhere, into 1 to `MAX_PIECES` pieces that are not empty.

    Yields:
        Where each piece starts and ends, and whether it is the last.
    """
    most = min(MAX_PIECES, length)
    inner = chance.permutation(np.arange(1, length))[: chance.integers(most)]
    ends = [*sorted(inner.tolist()), length]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield start, end, end == length


def whole_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer of whole texts, without the marks of their ends, which streams do not get."""
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def ids_of(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int64]:
    """The token ids of a text; one that is passed over, where it has none."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return np.array(ids or [_PADDING], np.int64)


def from_the_start(ids: npt.NDArray[np.int64]) -> Tensors:
    """All ids so far at once, as the network takes them that remembers nothing yet."""
    count = np.array([[len(ids)]], np.int32)
    hidden = np.zeros((1, STATE), np.float32)
    return {"input_ids": ids, "kept": count, "row_shapes": count, "hidden": hidden}
