"""The held-out data as the files of a version take it, with the right labels.

What a builder compares its own files on; here only the version's folder is needed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from build.data import digits, reviews
from build.export import Sample
from build.ragged import add_state, join, load_tokenizer, pack
from build.recipe import Recipe
from build.tokens import tokenize

_BATCH = 32


class HeldOut(NamedTuple):
    """Batches of real inputs, in order."""

    samples: list[Sample]
    truth: list[str]  # one label a row; empty where they are not known


def of_digits(recipe: Recipe, folder: Path) -> HeldOut:  # noqa: ARG001 - the others need it
    """The test digits, with the labels of the model's label file."""
    data = digits.load_test()
    batches = np.split(digits.as_input(data.images), len(data.images) // 100)
    return HeldOut([{"image": batch} for batch in batches], [recipe.labels[n] for n in data.labels])


def of_texts(recipe: Recipe, folder: Path) -> HeldOut:  # noqa: ARG001
    """The test reviews as the packed BERT takes them; a model's own labels may be others."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    test = reviews.load_test()
    ids = tokenize(tokenizer, (review.text for review in test))
    samples = [pack(ids[at : at + _BATCH]) for at in range(0, len(ids), _BATCH)]
    return HeldOut(samples, [review.label for review in test])


def of_texts_in_pieces(recipe: Recipe, folder: Path) -> HeldOut:  # noqa: ARG001
    """The test reviews as the recurrent network takes whole ones."""
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (hidden,) = (each.shape[1] for each in session.get_inputs() if each.name == "hidden")
    test = reviews.load_test()
    encodings = tokenizer.encode_batch_fast(
        [review.text for review in test], add_special_tokens=False
    )
    ids = [encoding.ids for encoding in encodings]
    samples = [add_state(join(ids[at : at + _BATCH]), hidden) for at in range(0, len(ids), _BATCH)]
    return HeldOut(samples, [review.label for review in test])


TEST_SETS: dict[str, Callable[[Recipe, Path], HeldOut]] = {
    "cnn": of_digits,
    "bert": of_texts,
    "gru": of_texts_in_pieces,
}
"""By the builder of a description."""
