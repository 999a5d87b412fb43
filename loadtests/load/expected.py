"""The expected answers, and whether one that came is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from build.catalogue import TOLERANCES, Precision, Tolerance


@dataclass(frozen=True)
class Explained:
    """Why a model says so.

    Attributes:
        attributions: FP32 [words or pixels], in log-odds.
        exact: What has to be the same to the byte: the words and where they stand.
    """

    attributions: npt.NDArray[np.float32]
    exact: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What a model says about one input.

    Attributes:
        label: The chosen class.
        probabilities: FP32 [classes].
        explained: Why; only where that was asked for.
    """

    label: bytes
    probabilities: npt.NDArray[np.float32]
    explained: Explained | None = None


@dataclass(frozen=True)
class Expected:
    """The expected answers.

    Attributes:
        labels: The label of each input, as bytes.
        probabilities: FP32 [inputs, classes].
        tolerance: How far a probability may be off.
        explained: Why each input is answered so; nothing where that is not asked for.
        attribution_tolerance: How far an attribution may be off.
    """

    labels: tuple[bytes, ...]
    probabilities: npt.NDArray[np.float32]
    tolerance: float
    explained: tuple[Explained, ...] = ()
    attribution_tolerance: float = 0.0

    @classmethod
    def of(
        cls,
        answers: Sequence[Answer],
        precision: Precision,
        tolerances: Mapping[Precision, Tolerance] = TOLERANCES,
    ) -> Expected:
        """Gathers the answers of a file of some precision, one for each input."""
        return cls(
            tuple(answer.label for answer in answers),
            np.stack([answer.probabilities for answer in answers]),
            tolerances[precision].probability,
            tuple(answer.explained for answer in answers if answer.explained),
            tolerances[precision].attribution,
        )

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
            return self._problem_of_explanation(index, answer) if self.explained else ""
        second, first = np.sort(expected)[-2:]
        known = answer.label in self.labels
        # Attributions are those of the label: of another one there is nothing to compare.
        return "" if known and first - second <= 2 * self.tolerance else "another label"

    def _problem_of_explanation(self, index: int, answer: Answer) -> str:
        expected, found = self.explained[index], answer.explained
        if found is None or found.attributions.shape != expected.attributions.shape:
            return "another number of attributions"
        if found.exact != expected.exact:
            return "other words"
        off = np.abs(found.attributions - expected.attributions).max(initial=0.0)
        return "" if off <= self.attribution_tolerance else "other attributions"


def precision_of(file: str) -> Precision:
    """The precision of a model file by its name, as `build/` names them."""
    return next((name for name in ("int8", "fp16") if f".{name}." in file), "fp32")
