"""The answers of the CPU build to real inputs, kept so that a GPU's can be compared with them.

They are made where the models are built (`prepare.py`) and read where a GPU is. Nothing here
needs PyTorch, a tokenizer or a data set.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from build.data.cache import sha256
from loadtests.compare.repository import PUBLISHED
from loadtests.load.errors import LoadTestError
from loadtests.load.requests import Requests

PADDED = {"model.onnx": "padded.onnx", "model.fp16.onnx": "padded.fp16.onnx"}
"""BERT's padded graph without its weights, by the published file that has them."""
SCHEMA = 1
_FACTS, _TOKENS = "kept.json", "tokens.npz"
_ADVICE = "make them with python -m loadtests.gpu_check prepare, where the models were built"

Ids = list[npt.NDArray[np.int64]]
"""Token ids of texts, INT64 [tokens] each."""


@dataclass(frozen=True)
class Kept:
    """What was kept.

    Attributes:
        folder: Where it lies.
        digests: The SHA-256 of each network's file that the answers are of, by its path in
            `model_repository/`.
        answers: The names of the files of answers, by model and by the file of its network.
        truth: The right labels of each model's inputs, as far as they are known.
        versions: Of what computed the answers.
    """

    folder: Path
    digests: dict[str, str]
    answers: dict[str, dict[str, str]]
    truth: dict[str, list[str]]
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path, repository: Path = PUBLISHED) -> Kept:
        """Reads what was kept, and makes sure that it is of the files of a repository.

        Files that the repository lacks, since a bundle leaves them out, are nobody's concern.

        Raises:
            LoadTestError: Nothing was kept, or the answers are those of other files.
        """
        kept = cls._read(folder)
        for name, digest in kept.digests.items():
            file = repository / name
            if file.is_file() and sha256(file) != digest:
                raise LoadTestError(
                    f"the answers in {folder} are those of another {name}: {_ADVICE}"
                )
        return kept

    @classmethod
    def _read(cls, folder: Path) -> Kept:
        try:
            plain: dict[str, Any] = json.loads((folder / _FACTS).read_text())
            if plain.pop("schema") != SCHEMA:
                raise LoadTestError(f"the answers in {folder} are of another release: {_ADVICE}")
            return cls(folder, **plain)
        except FileNotFoundError:
            raise LoadTestError(f"no answers of the CPU build in {folder}: {_ADVICE}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoadTestError(f"{folder / _FACTS} cannot be read ({error}): {_ADVICE}") from None

    def write(self) -> None:
        """Writes all but the answers themselves."""
        plain = {name: value for name, value in vars(self).items() if name != "folder"}
        (self.folder / _FACTS).write_text(json.dumps({"schema": SCHEMA, **plain}, indent=1) + "\n")

    def requests(self, model: str, file: str, inputs: int = 0) -> Requests:
        """The requests to a model over HTTP, with the answers that one file of its network gives.

        Args:
            model: The model.
            file: The name of the file.
            inputs: How many, of the first; 0 for all.

        Raises:
            LoadTestError: None were kept.
        """
        try:
            path = self.folder / self.answers[model][file]
            found = Requests.from_bytes(gzip.decompress(path.read_bytes()))
        except (KeyError, OSError, EOFError) as error:
            raise LoadTestError(
                f"no answers of {model} with {file} were kept: {_ADVICE}"
            ) from error
        return first(found, inputs) if inputs else found

    def add(self, requests: Requests, file: str) -> None:
        """Writes the requests to a model, with the answers of one file."""
        name = f"{requests.model}.{file}.gz"
        (self.folder / name).write_bytes(gzip.compress(requests.to_bytes(), mtime=0))
        self.answers.setdefault(requests.model, {})[file] = name

    def tokens(self) -> Ids:
        """The token ids of the reviews, in the order of the requests to BERT."""
        with np.load(self.folder / _TOKENS, allow_pickle=False) as kept:
            ids, lengths = kept["ids"], kept["lengths"]
        return np.split(ids, lengths.cumsum()[:-1])

    def add_tokens(self, texts: Ids) -> None:
        """Writes token ids."""
        lengths = np.array([len(text) for text in texts])
        np.savez_compressed(self.folder / _TOKENS, ids=np.concatenate(texts), lengths=lengths)


def first(requests: Requests, inputs: int) -> Requests:
    """The first inputs of some requests."""
    lengths = requests.sequence_lengths[:inputs]
    count = sum(lengths) if lengths else inputs
    expected = replace(
        requests.expected,
        labels=requests.expected.labels[:count],
        probabilities=requests.expected.probabilities[:count],
        explained=requests.expected.explained[:count],
    )
    return replace(
        requests,
        payloads=requests.payloads[:count],
        json_lengths=requests.json_lengths[:count],
        sequence_lengths=lengths,
        expected=expected,
    )
