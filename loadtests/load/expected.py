"""The expected answers, and whether one that came is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from build.catalogue import TOLERANCES, Precision, Tolerance


@dataclass(frozen=True)
class Explained:
    """Why a model says so."""

    attributions: npt.NDArray[np.float32]  # [words or pixels], in log-odds
    exact: bytes = b""  # the same to the byte: the words and where they stand


@dataclass(frozen=True)
class Answer:
    """What a model says about one input."""

    label: bytes
    probabilities: npt.NDArray[np.float32]  # [classes]
    explained: Explained | None = None  # only where that was asked for


@dataclass(frozen=True)
class Expected:
    """The expected answers, one for each input."""

    labels: tuple[bytes, ...]
    probabilities: npt.NDArray[np.float32]  # [inputs, classes]
    tolerance: float  # how far a probability may be off
    explained: tuple[Explained, ...] = ()  # nothing where that is not asked for
    attribution_tolerance: float = 0.0  # how far an attribution may be off

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
