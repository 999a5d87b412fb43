"""The weights of a checkpoint: every one is read, and every one that is needed is there.

transformers starts what is missing at random, leaves out what it does not expect, and says so
in a report. Here the report is read, and what is not known to be harmless is refused.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from build.errors import BuildError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_PREFIX = "bert."
_HEAD = ("classifier.weight", "classifier.bias")
_POSITIONS = re.compile(r"(bert\.)?embeddings\.position_ids")
# How LayerNorm's weights were called in checkpoints converted from TensorFlow.
_FORMER = {".gamma": ".weight", ".beta": ".bias"}
_FLOATS = {"F64", "F32", "F16", "BF16"}
_SHOWN = 4

HARMLESS = {
    # Of BertForPreTraining; a new head is trained in place of both.
    "cls.predictions.": "predicts words",
    "cls.seq_relationship.": "predicts the next sentence",
}
"""Weights of a checkpoint without a trained head that nothing reads, by their beginning."""


class Weights:
    """The tensors of a checkpoint's files.

    Args:
        folder: Holds `model.safetensors`, or an index and the files that it names.

    Raises:
        BuildError: The index is not valid, or names a file that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Path] = {}
        for path in _paths(folder):
            with safe_open(path, "pt") as file:
                self._files.update(dict.fromkeys(file.keys(), path))

    @property
    def has_head(self) -> bool:
        """Whether a trained head is there.

        Raises:
            BuildError: A part of it is.
        """
        there = [name for name in _HEAD if name in self._files]
        if len(there) == 1:
            (missing,) = set(_HEAD) - set(there)
            raise BuildError(f"{there[0]} is there and {missing} is missing: half a head")
        return bool(there)

    def tensor(self, name: str) -> Tensor:
        """A tensor as it is in the file."""
        with safe_open(self._files[name], "pt") as file:
            found: Tensor = file.get_tensor(name)
        return found

    def embeddings(self) -> Tensor:
        """The word embeddings, FP32 [vocabulary, width].

        Raises:
            BuildError: They are not there, or more than once.
        """
        names = [name for name in self._files if name.endswith("word_embeddings.weight")]
        if len(names) != 1:
            raise BuildError(f"{len(names)} tensors end in word_embeddings.weight, not 1")
        return self.tensor(names[0]).float()

    def check(self) -> None:
        """Refuses what transformers would load without a word.

        Raises:
            BuildError: Two tensors are of one weight, one is quantized, or positions are not
                counted from 0.
        """
        known = Counter(map(_canonical, self._files))
        twice = [name for name in self._files if known[_canonical(name)] > 1]
        _refuse(twice, "there twice", "leave out the wrong one")
        quantized = [
            f"{name} ({kind})"
            for name in self._files
            if (kind := self._kind(name)) not in _FLOATS and not _POSITIONS.fullmatch(name)
        ]
        _refuse(quantized, "not of floating point", "save them as FP32 or FP16")
        for name in filter(_POSITIONS.fullmatch, self._files):
            positions = self.tensor(name).flatten()
            if not torch.equal(positions, torch.arange(len(positions))):
                raise BuildError(f"{name} does not count from 0, as is served")

    def _kind(self, name: str) -> str:
        with safe_open(self._files[name], "pt") as file:
            kind: str = file.get_slice(name).get_dtype()
        return kind


def check_report(report: Mapping[str, Any], *, trained: bool) -> None:
    """Refuses a network that is not, weight for weight, that of its checkpoint.

    Args:
        report: What transformers says about loading it.
        trained: Whether it has a trained head; else the head may be missing, and those of
            pre-training may be there.

    Raises:
        BuildError: It names the weights that are missing, not expected, or of another shape.
    """
    may_be_missing = () if trained else _HEAD
    missing = [name for name in report["missing_keys"] if name not in may_be_missing]
    unexpected = [
        name
        for name in report["unexpected_keys"]
        if not _POSITIONS.fullmatch(name) and (trained or not name.startswith(tuple(HARMLESS)))
    ]
    shapes = [
        f"{name} ({list(found)}, config.json says {list(expected)})"
        for name, found, expected in report["mismatched_keys"]
    ]
    problems = [
        _listed(missing, "missing"),
        _listed(unexpected, "not known to BERT"),
        _listed(shapes, "of another shape"),
        _listed([str(error) for error in report["error_msgs"]], "not loaded"),
    ]
    if any(problems):
        raise BuildError(
            f"the weights are not those of a BERT as config.json describes it: "
            f"{'; '.join(filter(None, problems))}; save them with transformers' save_pretrained"
        )


def check_finite(parameters: Mapping[str, Tensor]) -> None:
    """Refuses weights that are no numbers.

    Raises:
        BuildError: It names those with NaN or infinite values.
    """
    broken = [name for name, value in parameters.items() if not torch.isfinite(value).all()]
    _refuse(broken, "NaN or infinite", "take an earlier checkpoint of the training")


def _paths(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise BuildError(f"{INDEX} is not valid: {error!r}") from error
    for name in names:
        if not (folder / name).is_file():
            raise BuildError(f"{INDEX} names {name}, which is not there")
    return [folder / name for name in names]


def _canonical(name: str) -> str:
    """The name of the weight that transformers loads a tensor for."""
    name = name.removeprefix(_PREFIX)
    for former, present in _FORMER.items():
        if name.endswith(f"LayerNorm{former}"):
            return name.removesuffix(former) + present
    return name


def _listed(names: Collection[str], what: str) -> str:
    """How many weights something is true of, and the first of them; empty for none."""
    if not names:
        return ""
    first = sorted(names)[:_SHOWN]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    count = "1 weight is" if len(names) == 1 else f"{len(names)} weights are"
    return f"{count} {what}: {', '.join(first)}{more}"


def _refuse(names: Collection[str], what: str, fix: str) -> None:
    if names:
        raise BuildError(f"{_listed(names, what)}; {fix}")
