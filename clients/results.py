"""Typed results, read from a model's output tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import NDArray

from clients.errors import ServerError


@dataclass(frozen=True)
class Classification:
    """One input's result.

    Attributes:
        label: The class that the model chose, as the model itself names it.
        probabilities: One for each class, in the model's order, summing to 1.
    """

    label: str
    probabilities: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """The probability of the chosen class, between 0 and 1."""
        return max(self.probabilities)

    def fields(self) -> dict[str, Any]:
        """The result for JSON."""
        return {"label": self.label, "probabilities": list(self.probabilities)}


@dataclass(frozen=True)
class DigitResult(Classification):
    """A handwritten digit's result; ten probabilities, for 0 to 9."""

    @property
    def digit(self) -> int:
        """The label as a number."""
        return int(self.label)


@dataclass(frozen=True)
class TextResult(Classification):
    """A text's result; with the packaged model ``negative`` or ``positive``."""


ResultT = TypeVar("ResultT", bound=Classification)


def read_results(
    kind: type[ResultT], outputs: Mapping[str, NDArray[Any]], model: str
) -> list[ResultT]:
    """Makes a result of each row of ``LABEL`` BYTES [n, 1] and ``PROBABILITIES`` FP32 [n, classes].

    Raises:
        ServerError: An output is missing or of another shape, or the two disagree on n.
    """
    try:
        labels = outputs["LABEL"].reshape(-1)
        probabilities = outputs["PROBABILITIES"]
    except KeyError as missing:
        raise ServerError(f"answered without the output {missing}", model) from None
    if probabilities.ndim != 2 or not probabilities.shape[1]:
        shape = list(probabilities.shape)
        raise ServerError(f"answered probabilities of the shape {shape}, not [n, classes]", model)
    if len(labels) != len(probabilities):
        raise ServerError(
            f"answered {len(labels)} labels and {len(probabilities)} rows of probabilities", model
        )
    return [
        kind(
            label.decode(errors="replace") if isinstance(label, bytes) else str(label),
            tuple(row.tolist()),
        )
        for label, row in zip(labels, probabilities, strict=True)
    ]
