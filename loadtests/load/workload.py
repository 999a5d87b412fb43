"""Real digits and real reviews, as each model takes them.

Which of them a model gets stands in its description; see `build/catalogue.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from tokenizers import Tokenizer

from build import catalogue
from build.catalogue import (
    OTHER_RUNTIME_TOLERANCES,
    TOLERANCES,
    Ask,
    Model,
    Outputs,
    Precision,
    Tolerance,
)
from build.data import digits, reviews
from build.ragged import load_tokenizer, pack
from loadtests.load.network import (
    Explain,
    Network,
    Tensors,
    cuts,
    explain_digits,
    explain_texts,
    from_the_start,
    ids_of,
)

_MAX_TENTATIVE = 3


class Sample(NamedTuple):
    """One request twice: as a client sends it, and as the ONNX file of its network takes it."""

    sent: Tensors
    reference: Tensors  # with all that was sent before it in its sequence
    last: bool | None = None  # whether a text in pieces ends here; None where there are none


Draw = Callable[[int, int, Path], list[Sample]]
"""Chooses inputs from the test split, by their number, the seed and the network's version."""


@dataclass(frozen=True)
class Workload:
    """How a model is asked.

    Attributes:
        network: The model whose ONNX file gives the answers; for an ensemble one of its parts.
        fits_json: Whether JSON can carry the inputs; its strings cannot hold any bytes.
        explain: Where the model explains what the network answers: makes, from the folder of
            the model's version, what does so without a server.
        tolerances: How far an answer may be off, by the precision of the network's file.
        of_other_runtimes: The same where the server has another version of ONNX Runtime.
    """

    network: str
    outputs: Outputs
    draw: Draw
    fits_json: bool
    explain: Callable[[Path, Network], Explain] | None
    tolerances: Mapping[Precision, Tolerance]
    of_other_runtimes: Mapping[Precision, Tolerance]


def choose(available: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of the test split are drawn, INT64 [at most wanted], in the order of the samples."""
    return np.random.default_rng(seed).permutation(available)[:wanted]


def _pixels(wanted: int, seed: int, folder: Path) -> list[Sample]:  # noqa: ARG001
    images = digits.load_test().images
    chosen = digits.as_input(images[choose(len(images), wanted, seed)])
    return [Sample({"image": image[np.newaxis]}, {"image": image[np.newaxis]}) for image in chosen]


def _pictures(wanted: int, seed: int, folder: Path) -> list[Sample]:
    samples = []
    for sample in _pixels(wanted, seed, folder):
        pixels = (sample.reference["image"][0, 0] * 255).round().astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        samples.append(Sample({"IMAGE": _bytes(buffer.getvalue())}, sample.reference))
    return samples


def _tokens(wanted: int, seed: int, folder: Path) -> list[Sample]:
    samples = []
    for _, reference, _ in _texts(wanted, seed, folder):
        names = ("input_ids", "attention_mask")
        samples.append(Sample({name: reference[name][np.newaxis] for name in names}, reference))
    return samples


def _texts(wanted: int, seed: int, folder: Path) -> list[Sample]:
    chosen = _reviews(wanted, seed)
    encodings = Tokenizer.from_file(str(folder / "tokenizer.json")).encode_batch(chosen)
    return [
        Sample({"TEXT": _bytes(text.encode())}, pack([encoding.ids]))
        for text, encoding in zip(chosen, encodings, strict=True)
    ]


def _reviews(wanted: int, seed: int) -> list[str]:
    texts = [review.text for review in reviews.load_test()]
    return [texts[index] for index in choose(len(texts), wanted, seed)]


def _text_pieces(wanted: int, seed: int, folder: Path) -> list[Sample]:
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    chance = np.random.default_rng([seed, 1])
    samples = []
    for text in _reviews(wanted, seed):
        # At characters, since JSON cannot carry half of one.
        for start, end, last in cuts(len(text), chance):
            so_far = from_the_start(ids_of(tokenizer, text[:end]))
            samples.append(Sample({"TEXT": _bytes(text[start:end].encode())}, so_far, last))
    return samples


def _token_pieces(wanted: int, seed: int, folder: Path) -> list[Sample]:
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    chance = np.random.default_rng([seed, 1])
    samples = []
    for text in _reviews(wanted, seed):
        ids = ids_of(tokenizer, text)
        for start, end, last in cuts(len(ids), chance):
            # Some ids behind the final ones come too, which the next piece brings again.
            tentative = end + int(chance.integers(_MAX_TENTATIVE + 1))
            kept = np.array([[end - start]], np.int32)
            sent: Tensors = {"input_ids": ids[np.newaxis, start:tentative], "kept": kept}
            samples.append(Sample(sent, from_the_start(ids[:tentative]), last))
    return samples


def _bytes(value: bytes) -> npt.NDArray[np.object_]:
    return np.array([[value]], dtype=object)


SAMPLES: dict[str, Draw] = {
    "digits.pixels": _pixels,
    "digits.png": _pictures,
    "reviews.text": _texts,
    "reviews.tokens": _tokens,
    "reviews.text_chunks": _text_pieces,
    "reviews.token_chunks": _token_pieces,
}
EXPLAIN = {"digits": explain_digits, "texts": explain_texts}
_BINARY = ("digits.png",)


@cache
def workloads(repository: Path = catalogue.REPOSITORY) -> dict[str, Workload]:
    """How each model of a repository is asked that callers ask; its descriptions are read once.

    Raises:
        BuildError: A description is not valid.
    """
    models = catalogue.read(repository).values()
    return {model.name: _workload(model, model.ask) for model in models if model.ask}


def _workload(model: Model, ask: Ask) -> Workload:
    return Workload(
        network=ask.network,
        outputs=ask.outputs,
        draw=catalogue.choose(SAMPLES, ask.samples, model, "ask.samples"),
        fits_json=ask.samples not in _BINARY,
        explain=catalogue.choose({"": None, **EXPLAIN}, ask.explain, model, "ask.explain"),
        tolerances={**TOLERANCES, **ask.tolerances},
        of_other_runtimes={**OTHER_RUNTIME_TOLERANCES, **ask.tolerances},
    )
