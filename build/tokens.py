"""From texts to token ids to the inputs of a network: padded, or packed."""

from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Tokenizer

from build.export import Sample


def tokenize(tokenizer: Tokenizer, texts: Iterable[str]) -> list[list[int]]:
    """The token ids of each text."""
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def pad(ids: Sequence[Sequence[int]]) -> Sample:
    """Token ids of several texts as one padded batch, INT64 [texts, longest]."""
    sample = {
        name: np.zeros((len(ids), max(map(len, ids))), np.int64)
        for name in ("input_ids", "attention_mask")
    }
    for row, tokens in enumerate(ids):
        sample["input_ids"][row, : len(tokens)] = tokens
        sample["attention_mask"][row, : len(tokens)] = 1
    return sample


def pack(ids: Sequence[Sequence[int]]) -> Sample:
    """Token ids of several texts after each other, as `PackedClassifier` takes them."""
    tokens = np.concatenate([np.asarray(text, np.int64) for text in ids])
    shapes = np.array([[len(text)] for text in ids], np.int32)
    return {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "row_shapes": shapes,
        "mask_shapes": shapes,
    }


def unpack(sample: Sample) -> list[list[int]]:
    """The token ids of each text of a packed sample."""
    ends = sample["row_shapes"][:, 0].cumsum()
    return [part.tolist() for part in np.split(sample["input_ids"], ends[:-1])]
