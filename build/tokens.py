"""From texts to token ids to a padded batch."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


def tokenize(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """The token ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def pad(ids: Sequence[Sequence[int]]) -> dict[str, npt.NDArray[np.int64]]:
    """Token ids of several texts as one padded batch, INT64 [texts, longest]."""
    sample = {
        name: np.zeros((len(ids), max(map(len, ids))), np.int64)
        for name in ("input_ids", "attention_mask")
    }
    for row, tokens in enumerate(ids):
        sample["input_ids"][row, : len(tokens)] = tokens
        sample["attention_mask"][row, : len(tokens)] = 1
    return sample
