"""A repository of variants of the published models, for one server that serves them by turns."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from build import model_config
from loadtests.load.run import ROOT

PUBLISHED = ROOT / "model_repository"
BERT = PUBLISHED / "sentiment_bert" / "1"
FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
"""BERT's files by precision."""
TOKENIZER = BERT / "tokenizer.json"
CNN = PUBLISHED / "mnist_cnn" / "1" / "model.onnx"
RNN = PUBLISHED / "sentiment_rnn" / "1" / "model.onnx"

Edit = Callable[[Any], None]
"""Changes a `ModelConfig`."""


class VariantRepository:
    """A folder of models, empty at first; the published ones are linked, never written.

    Args:
        folder: The folder.
        published: That of the published models.
        config: Which of their configs is changed, as `CONFIG` names it.
    """

    def __init__(
        self, folder: Path, published: Path = PUBLISHED, config: str = model_config.CPU
    ) -> None:
        self.folder = folder
        self._published = published
        self._config = config

    def add(self, model: str, name: str, *edits: Edit, file: Path | None = None) -> str:
        """Adds a variant of a published model under a name, which is returned.

        Its config is changed by the edits; it serves the published ONNX file or another.
        """
        config = model_config.of_model(self._published, model, self._config)
        config.name = name
        for edit in edits:
            edit(config)
        self._write(model, config, file)
        return name

    def add_ensemble(self, model: str, name: str, parts: Mapping[str, str], *edits: Edit) -> str:
        """Adds an ensemble of other parts, by the names of the published ones; gives its name.

        A part that is not named is the published one, which has to be added under its own name.
        """

        def replace(config: Any) -> None:
            for step in config.ensemble_scheduling.step:
                step.model_name = parts.get(step.model_name, step.model_name)

        return self.add(model, name, replace, *edits)

    def served_file(self, model: str) -> str:
        """The name of the file that a published model's config serves."""
        return model_config.served_file(model_config.of_model(self._published, model, self._config))

    def _write(self, model: str, config: Any, file: Path | None) -> None:
        target = self.folder / config.name
        target.mkdir()
        model_config.write(target / model_config.PLAIN, config)
        published = self._published.absolute() / model
        for labels in published.glob("*.txt"):
            (target / labels.name).symlink_to(labels)
        if file is None:
            for version in published.glob("[0-9]*"):
                (target / version.name).symlink_to(version)
        else:
            (target / "1").mkdir()
            (target / "1" / config.default_model_filename).symlink_to(file)


@contextlib.contextmanager
def repository(config: str = model_config.CPU) -> Iterator[VariantRepository]:
    """An empty repository of variants, for the length of a `with` block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield VariantRepository(Path(folder), config=config)


def without_batches(config: Any) -> None:
    """Has each request computed by itself."""
    config.ClearField("dynamic_batching")


def in_batches_of(rows: int) -> Edit:
    """Another largest batch; of a model with sequences, the only way to have none."""

    def edit(config: Any) -> None:
        config.max_batch_size = rows

    return edit


def serves(filename: str) -> Edit:
    """Another of the published files."""

    def edit(config: Any) -> None:
        config.default_model_filename = filename

    return edit


def instances(count: int) -> Edit:
    """Another number of instances."""

    def edit(config: Any) -> None:
        config.instance_group[0].count = count

    return edit


def threads(count: int) -> Edit:
    """A number of threads, written down where it would follow from the machine."""

    def edit(config: Any) -> None:
        config.parameters["intra_op_thread_count"].string_value = str(count)

    return edit


def padded_to(tokens: int) -> Edit:
    """Inputs of one length, which is the only way in which Triton batches a padded graph."""

    def edit(config: Any) -> None:
        for tensor in config.input:
            tensor.dims[:] = [tokens]
            tensor.allow_ragged_batch = False
        config.ClearField("batch_input")

    return edit
