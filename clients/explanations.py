"""Explanations: how much each word, or each pixel, speaks for or against the label."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.errors import ServerError
from clients.inputs import ImageLike, encode_images, encode_texts
from clients.results import DigitResult, TextResult, read_results

TEXT_MODEL = "sentiment_explain"
DIGIT_MODEL = "mnist_explain"


@dataclass(frozen=True)
class Word:
    """A word of an explained text; in a long text, a group of consecutive words.

    Attributes:
        text: As it stands in the text.
        start: Index of its first character in the text.
        end: Index of the character after its last.
        attribution: What it adds to the log-odds of the label: above 0 it speaks for the
            label, below 0 against it.
    """

    text: str
    start: int
    end: int
    attribution: float


@dataclass(frozen=True)
class TextExplanation(TextResult):
    """A text's result, and what each of its words adds to it.

    Attributes:
        words: In the order of the text; those that the model does not read are left out.
    """

    words: tuple[Word, ...]

    def fields(self) -> dict[str, Any]:
        """The explanation for JSON."""
        words = [vars(word) for word in self.words]
        return {**super().fields(), "words": words}

    def strongest(self, count: int) -> list[Word]:
        """The words that matter most for or against the label, the strongest first."""
        return sorted(self.words, key=lambda word: -abs(word.attribution))[:count]


@dataclass(frozen=True)
class DigitExplanation(DigitResult):
    """A digit's result, and what each of its pixels adds to it.

    Attributes:
        heatmap: FP32 [28, 28], in log-odds of the label: above 0 the pixel speaks for the
            label, below 0 against it.
        overlay: A PNG of the heat over the digit: red for the label, blue against it.
    """

    heatmap: NDArray[np.float32] = field(compare=False)
    overlay: bytes = field(repr=False)

    def fields(self) -> dict[str, Any]:
        """The explanation for JSON."""
        return {**super().fields(), "heatmap": self.heatmap.tolist()}


class Explaining(ABC):
    """The part of a client that asks for explanations."""

    @abstractmethod
    def infer(self, *args: Any, **options: Any) -> dict[str, NDArray[Any]]:
        """Calls any model with one request; see `ServingClient.infer`."""

    def explain_text(
        self, text: str, samples: int = 0, seed: int = 0, timeout: float | None = None
    ) -> TextExplanation:
        """Attributes the label of a text to its words.

        Args:
            text: A text that is not empty.
            samples: 0 leaves each word out once; more estimates Shapley values from that
                many random orders of the words, which takes longer.
            seed: Of the random orders.
            timeout: Seconds for the whole call.
        """
        rows = encode_texts([text], TEXT_MODEL)
        parameters = {"SAMPLES": samples, "SEED": seed}
        outputs = self.infer(TEXT_MODEL, {"TEXT": rows}, parameters=parameters, timeout=timeout)
        (result,) = read_results(TextResult, outputs, TEXT_MODEL)
        names = ("TOKENS", "OFFSETS", "ATTRIBUTIONS")
        columns = [_only_row(outputs, name, TEXT_MODEL) for name in names]
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(f"{len(each)}" for each in columns)
            raise ServerError(f"answered as many {', '.join(names)} as {lengths}", TEXT_MODEL)
        words = tuple(
            Word(token.decode(errors="replace"), int(start), int(end), float(attribution))
            for token, (start, end), attribution in zip(*columns, strict=True)
        )
        return TextExplanation(result.label, result.probabilities, words)

    def explain_digit(self, image: ImageLike, timeout: float | None = None) -> DigitExplanation:
        """Attributes the label of a digit, given as to `classify_digits`, to its pixels."""
        rows = encode_images([image], DIGIT_MODEL)
        outputs = self.infer(DIGIT_MODEL, {"IMAGE": rows}, timeout=timeout)
        (result,) = read_results(DigitResult, outputs, DIGIT_MODEL)
        heatmap = _only_row(outputs, "HEATMAP", DIGIT_MODEL)
        overlay = bytes(_only_row(outputs, "OVERLAY", DIGIT_MODEL)[0])
        return DigitExplanation(result.label, result.probabilities, heatmap, overlay)


def _only_row(outputs: Mapping[str, NDArray[Any]], name: str, model: str) -> NDArray[Any]:
    if name not in outputs:
        raise ServerError(f"answered without the output '{name}'", model)
    row: NDArray[Any] = outputs[name][0]
    return row
