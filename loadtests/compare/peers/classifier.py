"""Text in, label out with ONNX Runtime, as all peers do it.

The peers are what somebody would otherwise write to serve the same model, each in an environment
of its own. They know nothing of this repository: they get the file of a model, the file of its
tokenizer, a number of threads and a port.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Classified(NamedTuple):
    """A label and the probability of each class."""

    label: str
    probabilities: list[float]


class Classifier:
    """A padded BERT and its tokenizer, named by the environment.

    MODEL_FILE and TOKENIZER_FILE are their files, THREADS are those that share an operator.
    """

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self._session: Any = onnxruntime.InferenceSession(
            os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(os.environ["TOKENIZER_FILE"])
        self._tokenizer.enable_padding()  # to the longest of a batch

    def classify(self, texts: Sequence[str]) -> list[Classified]:
        """Classifies a batch."""
        encodings = self._tokenizer.encode_batch(list(texts))
        label, probabilities = self._session.run(
            ["label", "probabilities"],
            {
                "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
                "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
            },
        )
        return list(map(Classified, label[:, 0].tolist(), probabilities.tolist()))
