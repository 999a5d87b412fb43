"""From texts to token ids to padded batches."""

from collections.abc import Iterable

import numpy as np
from tokenizers import Tokenizer

from build.export import Sample


def pad(ids: list[list[int]]) -> Sample:
    """Token ids of several texts as one padded batch, INT64 [n, longest]."""
    sample = {
        name: np.zeros((len(ids), max(map(len, ids))), np.int64)
        for name in ("input_ids", "attention_mask")
    }
    for row, tokens in enumerate(ids):
        sample["input_ids"][row, : len(tokens)] = tokens
        sample["attention_mask"][row, : len(tokens)] = 1
    return sample


def tokenize(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """The token ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
