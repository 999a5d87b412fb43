"""Why a model answered as it did: what each word, or each pixel, speaks for."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.errors import ServerError
from clients.images import ImageLike, encode_images
from clients.results import DigitResult, TextResult, read_results
from clients.texts import encode_texts
from clients.transport import Parameter

TEXT_MODEL = "sentiment_explain"
DIGIT_MODEL = "mnist_explain"


@dataclass(frozen=True)
class Word:
    """A word of an explained text; in a long text, a group of following words.

    Attributes:
        text: As it stands in the text.
        start: Where it starts in the text, in characters.
        end: Where it ends, in characters; the first one behind it.
        attribution: What it adds to the log-odds of the label: above 0 it speaks for the
            label, below 0 against it.
    """

    text: str
    start: int
    end: int
    attribution: float


@dataclass(frozen=True)
class TextExplanation(TextResult):
    """A text's answer, and what each of its words speaks for.

    Attributes:
        words: In the order of the text; those that the model does not read are left out.
    """

    words: tuple[Word, ...]

    def fields(self) -> dict[str, Any]:
        """What stands in JSON."""
        words = [vars(word) for word in self.words]
        return {**super().fields(), "words": words}

    def strongest(self, count: int) -> list[Word]:
        """The words that matter most for or against the label, the strongest first."""
        return sorted(self.words, key=lambda word: -abs(word.attribution))[:count]


@dataclass(frozen=True)
class DigitExplanation(DigitResult):
    """A digit's answer, and what each of its pixels speaks for.

    Attributes:
        heatmap: FP32 [28, 28], in log-odds of the label: above 0 the pixel speaks for the
            label, below 0 against it.
        overlay: A PNG of the heat over the digit: red for the label, blue against it.
    """

    heatmap: NDArray[np.float32] = field(compare=False)
    overlay: bytes = field(repr=False)

    def fields(self) -> dict[str, Any]:
        """What stands in JSON."""
        return {**super().fields(), "heatmap": self.heatmap.tolist()}


class Explaining(ABC):
    """The part of a client that asks for explanations."""

    @abstractmethod
    def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Iterable[str] | None = None,
        *,
        model_version: str = "",
        request_id: str = "",
        parameters: Mapping[str, Parameter] | None = None,
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Calls any model with one request."""

    def explain_text(
        self, text: str, samples: int = 0, seed: int = 0, timeout: float | None = None
    ) -> TextExplanation:
        """Tells how much each word of a text speaks for the label that the text gets.

        Args:
            text: A text that is not empty.
            samples: 0 leaves each word out once. More estimates Shapley values from that
                many random orders of the words, which takes longer.
            seed: Of the orders.
            timeout: Seconds for the whole call.

        Returns:
            The answer to the text with its words.
        """
        rows = encode_texts([text], TEXT_MODEL)
        parameters = {"SAMPLES": samples, "SEED": seed}
        outputs = self.infer(TEXT_MODEL, {"TEXT": rows}, parameters=parameters, timeout=timeout)
        return _read_text(outputs)

    def explain_digit(self, image: ImageLike, timeout: float | None = None) -> DigitExplanation:
        """Tells how much each pixel of a digit speaks for the label that the image gets.

        Args:
            image: Encoded PNG or JPEG bytes, a path, a PIL image, or an array
                [height, width] of UINT8 or of floating point from 0 to 1.
            timeout: Seconds for the whole call.

        Returns:
            The answer to the image with its heat.
        """
        rows = encode_images([image], DIGIT_MODEL)
        return _read_digit(self.infer(DIGIT_MODEL, {"IMAGE": rows}, timeout=timeout))


def _read_text(outputs: Mapping[str, NDArray[Any]]) -> TextExplanation:
    (result,) = read_results(TextResult, outputs, TEXT_MODEL)
    columns = (_row(outputs, name, TEXT_MODEL) for name in ("TOKENS", "OFFSETS", "ATTRIBUTIONS"))
    words = tuple(
        Word(token.decode(), int(start), int(end), float(attribution))
        for token, (start, end), attribution in zip(*columns, strict=True)
    )
    return TextExplanation(result.label, result.probabilities, words)


def _read_digit(outputs: Mapping[str, NDArray[Any]]) -> DigitExplanation:
    (result,) = read_results(DigitResult, outputs, DIGIT_MODEL)
    heatmap = _row(outputs, "HEATMAP", DIGIT_MODEL)
    overlay = bytes(_row(outputs, "OVERLAY", DIGIT_MODEL)[0])
    return DigitExplanation(result.label, result.probabilities, heatmap, overlay)


def _row(outputs: Mapping[str, NDArray[Any]], name: str, model: str) -> NDArray[Any]:
    """The one row of an output."""
    if name not in outputs:
        raise ServerError(f"answered without the output '{name}'", model)
    row: NDArray[Any] = outputs[name][0]
    return row
