"""Texts of any lengths in one batch: their token ids after each other, and no padding."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

Batch = dict[str, npt.NDArray[Any]]
"""The inputs of one call, by name."""
TokenIds = Sequence[int] | npt.NDArray[np.int64]
"""Of one text, in order."""


def pack(ids: Sequence[TokenIds]) -> Batch:
    """Token ids of several texts, as `PackedClassifier` takes them."""
    tokens, lengths = _join(ids)
    return {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "row_shapes": lengths,
        "mask_shapes": lengths,
    }


def join(pieces: Sequence[TokenIds]) -> Batch:
    """Token ids of several pieces, all of them final, as the recurrent network takes them."""
    tokens, lengths = _join(pieces)
    return {"input_ids": tokens, "kept": lengths, "row_shapes": lengths}


def add_state(batch: Batch, hidden: int) -> Batch:
    """What `join` makes as the beginning of its texts.

    Args:
        batch: The pieces.
        hidden: Numbers that the network remembers of a text.
    """
    return {**batch, "hidden": np.zeros((len(batch["kept"]), hidden), np.float32)}


def split(batch: Batch) -> list[list[int]]:
    """The token ids of each text or piece."""
    ends = batch["row_shapes"][:, 0].cumsum()
    return [part.tolist() for part in np.split(batch["input_ids"], ends[:-1])]


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that never cuts, and takes "[SEP]" in a text for four ordinary tokens."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _join(
    ids: Sequence[TokenIds],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """INT64 [tokens] and INT32 [texts, 1], the length of each."""
    tokens = np.concatenate([np.asarray(text, np.int64) for text in ids])
    return tokens, np.array([[len(text)] for text in ids], np.int32)
