"""The answers that are expected, and whether one that came is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOLERANCES = {"fp32": 1e-4, "fp16": 0.02, "int8": 0.1}
"""The most that a probability may differ from the offline answer, by the precision of the
model file. FP32 differs by rounding only. FP16 and int8 may be computed in another order, and
in int8 the scale of the activations depends on the texts that share a batch."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one input.

    Attributes:
        label: The chosen class.
        probabilities: FP32 [classes].
    """

    label: bytes
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Expected:
    """The offline answers.

    Attributes:
        labels: The label of each input, as bytes.
        probabilities: FP32 [inputs, classes].
        tolerance: How far a probability may be off.
    """

    labels: tuple[bytes, ...]
    probabilities: npt.NDArray[np.float32]
    tolerance: float

    def problem(self, index: int, answer: Answer) -> str:
        """What is wrong with an answer to an input.

        Another label is right only where the two are so close that the tolerance
        decides between them.

        Returns:
            A few words, the same for all answers that are wrong in the same way; nothing
            where it is right.
        """
        expected = self.probabilities[index]
        if answer.probabilities.shape != expected.shape:
            return "another number of probabilities"
        # Written so that NaN is wrong.
        if not np.abs(answer.probabilities - expected).max() <= self.tolerance:
            return "other probabilities"
        if answer.label == self.labels[index]:
            return ""
        second, first = np.sort(expected)[-2:]
        known = answer.label in self.labels
        return "" if known and first - second <= 2 * self.tolerance else "another label"


def precision_of(file: str) -> str:
    """The precision of a model file by its name, as `build/` names them."""
    return next((name for name in ("int8", "fp16") if f".{name}." in file), "fp32")
