"""`sentiment_tokenizer`: texts in, token ids and attention mask out.

Runs in Triton's Python backend. `tokenizer.json` lies beside the built copy of
this file; it is the checkpoint's own, and cuts a text at the most tokens that
the model takes.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from tokenizers import Encoding, Tokenizer

TEXT = "TEXT"


class TextError(ValueError):
    """A text that cannot be classified; the message names its row."""


def read_texts(rows: npt.NDArray[np.object_]) -> list[str]:
    """Decodes the rows of a request.

    Args:
        rows: BYTES [n, 1].

    Raises:
        TextError: A row is not UTF-8, or is blank.
    """
    texts = []
    for number, row in enumerate(rows.reshape(-1)):
        try:
            text = bytes(row).decode("utf-8")
        except UnicodeDecodeError as error:
            raise TextError(f"{TEXT} row {number}: not valid UTF-8 at byte {error.start}") from None
        if not text.strip():
            raise TextError(f"{TEXT} row {number}: the text is empty")
        texts.append(text)
    return texts


def pad(encodings: list[Encoding]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids and attention mask, INT64 [n, longest] each, of one request."""
    longest = max((len(encoding.ids) for encoding in encodings), default=0)
    ids = np.zeros((len(encodings), longest), np.int64)
    mask = np.zeros((len(encodings), longest), np.int64)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = 1
    return ids, mask


class TritonPythonModel:
    """What the Python backend loads, once an instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the tokenizer from the folder of this version."""
        # A batch of texts is done before other threads are awake, and the network wants the cores.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        folder = Path(args["model_repository"]) / args["model_version"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tokenizes a batch of requests in one call; a bad request fails alone."""
        read: list[list[str] | TextError] = []
        for request in requests:
            try:
                read.append(read_texts(pb_utils.get_input_tensor_by_name(request, TEXT).as_numpy()))
            except TextError as error:
                read.append(error)
        texts = [text for rows in read if isinstance(rows, list) for text in rows]
        encodings = iter(self.tokenizer.encode_batch_fast(texts))
        return [
            _refusal(rows)
            if isinstance(rows, TextError)
            else _answer([next(encodings) for _ in rows])
            for rows in read
        ]


def _answer(encodings: list[Encoding]) -> Any:
    ids, mask = pad(encodings)
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)]
    )


def _refusal(error: TextError) -> Any:
    return pb_utils.InferenceResponse(
        error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    )
