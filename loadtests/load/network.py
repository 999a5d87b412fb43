"""The networks called directly, without a server: the reference that answers are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from loadtests.load.expected import Answer, precision_of

Tensors = dict[str, npt.NDArray[Any]]

MAX_CHUNKS = 8
"""Of one text."""
STATE = 128
"""Numbers that the recurrent network remembers of a text; docs/streaming.md."""
_PADDING = 0


class Network:
    """One ONNX file, run by ONNX Runtime in this process.

    Args:
        file: The file, as `build/` names it.

    Attributes:
        precision: Of the file.
    """

    def __init__(self, file: Path) -> None:
        # Not before Locust forks its processes, whose copy of it would crash at their end.
        import onnxruntime

        self.precision = precision_of(file.name)
        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def classify(self, tensors: Tensors) -> tuple[list[bytes], npt.NDArray[np.float32]]:
        """Labels [rows], and probabilities FP32 [rows, classes]."""
        labels, probabilities = self._session.run(["label", "probabilities"], tensors)
        return [str(label).encode() for label in labels.reshape(-1)], probabilities

    def answer(self, tensors: Tensors) -> Answer:
        """The answer to an input of one row."""
        (label,), (probabilities,) = self.classify(tensors)
        return Answer(label, probabilities)


def from_the_start(ids: npt.NDArray[np.int64]) -> Tensors:
    """All ids so far at once, as the recurrent network takes them without an earlier state."""
    count = np.array([[len(ids)]], np.int32)
    hidden = np.zeros((1, STATE), np.float32)
    return {"input_ids": ids, "kept": count, "row_shapes": count, "hidden": hidden}


def ids_of(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int64]:
    """The token ids of a text, INT64 [tokens]; one of padding where it has none."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return np.array(ids or [_PADDING], np.int64)


def cuts(length: int, rng: np.random.Generator) -> Iterator[tuple[int, int, bool]]:
    """Cuts something anywhere, into 1 to `MAX_CHUNKS` chunks that are not empty.

    Yields:
        Where each chunk starts and ends, and whether it is the last.
    """
    inner = rng.permutation(np.arange(1, length))[: rng.integers(min(MAX_CHUNKS, length))]
    ends = [*sorted(inner.tolist()), length]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield start, end, end == length
