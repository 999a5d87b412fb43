"""`sentiment_tokenizer`: turns texts into token ids and an attention mask.

Runs in Triton's Python backend. `tokenizer.json` lies beside the built copy of
this file, as `texts.py` and `beginning.py` do; it is the checkpoint's own, and
truncates a text to the most tokens that the model takes.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from beginning import BeginningTokenizer  # type: ignore[import-not-found]
from texts import TextError, read_text  # type: ignore[import-not-found]
from tokenizers import Encoding, Tokenizer

TEXT, IDS, MASK = "TEXT", "input_ids", "attention_mask"


def read_texts(rows: npt.NDArray[np.object_]) -> list[str]:
    """Decodes the rows of a request.

    Args:
        rows: BYTES [n, 1].

    Raises:
        TextError: A row is not UTF-8, or has nothing visible in it; the message names it.
    """
    texts = []
    for number, row in enumerate(rows.ravel().tolist()):
        try:
            texts.append(read_text(bytes(row)))
        except TextError as error:
            raise _of_row(number, error) from None
    return texts


def pad(rows: list[list[int]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Token ids and attention mask, INT64 [n, longest] each, of the rows of one request."""
    longest = max(map(len, rows), default=0)
    ids = np.zeros((len(rows), longest), np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the tokenizer from the folder of this version."""
        # A batch is done before other threads wake up, and the network needs the cores.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        folder = Path(args["model_repository"]) / args["model_version"]
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer = BeginningTokenizer(tokenizer)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tokenizes a batch of requests in one call; a bad request fails alone."""
        read: list[list[str] | TextError] = []
        for request in requests:
            try:
                (text,) = request.inputs()
                read.append(read_texts(text.as_numpy()))
            except TextError as error:
                read.append(error)
        texts = [text for rows in read if isinstance(rows, list) for text in rows]
        encodings = iter(self.tokenizer.encode(texts))
        return [
            _refusal(rows)
            if isinstance(rows, TextError)
            else _answer([next(encodings) for _ in rows])
            for rows in read
        ]

    def finalize(self) -> None:
        """Releases cached tensors while their memory still exists."""
        _mask_of_one.cache_clear()


def _answer(encodings: list[Encoding | TextError]) -> Any:
    for number, encoding in enumerate(encodings):
        if isinstance(encoding, TextError):
            return _refusal(_of_row(number, encoding))
    rows = [encoding.ids for encoding in encodings]  # each access makes a new list
    if len(rows) == 1:
        ids = np.array(rows, np.int64)
        return pb_utils.InferenceResponse([pb_utils.Tensor(IDS, ids), _mask_of_one(ids.shape[1])])
    ids, mask = pad(rows)
    return pb_utils.InferenceResponse([pb_utils.Tensor(IDS, ids), pb_utils.Tensor(MASK, mask)])


@lru_cache(maxsize=128)
def _mask_of_one(length: int) -> Any:
    """The mask of a single text, shared by responses: to make a tensor takes the backend long."""
    return pb_utils.Tensor(MASK, np.ones((1, length), np.int64))


def _of_row(number: int, error: TextError) -> TextError:
    return TextError(f"{TEXT} row {number}: {error}")


def _refusal(error: TextError) -> Any:
    return pb_utils.InferenceResponse(
        error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    )
