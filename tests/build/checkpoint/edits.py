"""Edits of a checkpoint's files."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from build import classifier
from build.classifier import Classifier
from build.data import checkpoints
from build.errors import BuildError

WEIGHTS = "model.safetensors"


def load(folder: Path) -> Classifier:
    return classifier.load(checkpoints.find(str(folder)))


def refused(folder: Path) -> str:
    """Why a checkpoint is refused, in one line that begins with whose it is."""
    with pytest.raises(BuildError) as raised:
        load(folder)
    message = str(raised.value)
    assert message.startswith(f"BERT={folder}: ")
    assert "\n" not in message
    return message.removeprefix(f"BERT={folder}: ")


def edit_json(file: Path, changes: Mapping[str, Any]) -> None:
    """Sets keys of a JSON file, which may be missing; None removes one."""
    content = json.loads(file.read_text()) if file.exists() else {}
    content.update(changes)
    file.write_text(json.dumps({key: v for key, v in content.items() if v is not None}))


def weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(folder / WEIGHTS)
    return found


def write_weights(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(whole, folder / WEIGHTS, {"format": "pt"})
