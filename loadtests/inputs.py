"""Real digits and real reviews, as each model takes them.

A further model is served with load as soon as it has an entry in `WORKLOADS`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tokenizers import Tokenizer

from build.data import digits, reviews
from loadtests.wire import Outputs

Tensors = dict[str, npt.NDArray[Any]]
Sample = tuple[Tensors, Tensors]
"""One input twice: as the model takes it from a client, and as its ONNX file takes it."""


@dataclass(frozen=True)
class Workload:
    """How a model is asked.

    Attributes:
        network: The model whose ONNX file gives the answers; for an ensemble one of its parts.
        outputs: Of the model that is asked.
        draw: Chooses that many inputs from the test split. It gets their number, the seed
            and the folder of the network's version.
        fits_json: Whether JSON can carry the inputs; its strings cannot hold any bytes.
    """

    network: str
    outputs: Outputs
    draw: Callable[[int, int, Path], list[Sample]]
    fits_json: bool = True


def _choose(available: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(available)[:wanted]


def _pixels(wanted: int, seed: int, folder: Path) -> list[Sample]:  # noqa: ARG001
    images = digits.load_test().images
    chosen = digits.as_input(images[_choose(len(images), wanted, seed)])
    return [({"image": image[np.newaxis]}, {"image": image[np.newaxis]}) for image in chosen]


def _pictures(wanted: int, seed: int, folder: Path) -> list[Sample]:
    samples = []
    for _, offline in _pixels(wanted, seed, folder):
        pixels = (offline["image"][0, 0] * 255).round().astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        samples.append(({"IMAGE": _bytes(buffer.getvalue())}, offline))
    return samples


def _tokens(wanted: int, seed: int, folder: Path) -> list[Sample]:
    samples = []
    for _, offline in _texts(wanted, seed, folder):
        names = ("input_ids", "attention_mask")
        samples.append(({name: offline[name][np.newaxis] for name in names}, offline))
    return samples


def _texts(wanted: int, seed: int, folder: Path) -> list[Sample]:
    texts = [review.text for review in reviews.load_test()]
    chosen = [texts[index] for index in _choose(len(texts), wanted, seed)]
    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(chosen)
    return [
        ({"TEXT": _bytes(text.encode())}, _packed(np.array(encoding.ids)))
        for text, encoding in zip(chosen, encodings, strict=True)
    ]


def _packed(tokens: npt.NDArray[np.int64]) -> Tensors:
    """One text as the packed graph takes it; docs/packing.md."""
    shapes = np.array([[len(tokens)]], np.int32)
    return {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "row_shapes": shapes,
        "mask_shapes": shapes,
    }


def _bytes(value: bytes) -> npt.NDArray[np.object_]:
    return np.array([[value]], dtype=object)


WORKLOADS = {
    "mnist_cnn": Workload("mnist_cnn", Outputs("label", "probabilities"), _pixels),
    "mnist": Workload("mnist_cnn", Outputs("LABEL", "PROBABILITIES"), _pictures, fits_json=False),
    "sentiment_bert": Workload("sentiment_bert", Outputs("label", "probabilities"), _tokens),
    "sentiment": Workload("sentiment_bert", Outputs("LABEL", "PROBABILITIES"), _texts),
}
