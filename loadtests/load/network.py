"""A network that ONNX Runtime runs in this process, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from loadtests.load.expected import Answer, precision_of

Tensors = dict[str, npt.NDArray[Any]]


class Network:
    """One ONNX file.

    Attributes:
        precision: Of the file.

    Args:
        file: The file, as `build/` names it.
    """

    def __init__(self, file: Path) -> None:
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


def packed(texts: Sequence[npt.NDArray[np.int64]]) -> Tensors:
    """Texts after each other, as the packed graph takes them; docs/packing.md."""
    tokens = np.concatenate(list(texts))
    shapes = np.array([[len(text)] for text in texts], np.int32)
    return {
        "input_ids": tokens,
        "attention_mask": np.ones_like(tokens),
        "row_shapes": shapes,
        "mask_shapes": shapes,
    }
