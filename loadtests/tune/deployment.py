"""A candidate as configs: in a repository of its own, and for good as `configs/tuned.pbtxt`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from loadtests.bench.repository import Edit, VariantRepository, instances, serves, threads
from loadtests.tune.anatomy import Anatomy, config_path, read_config
from loadtests.tune.candidate import Candidate

TUNED = "tuned"
"""The name of the config that a search writes: `make serve CONFIG=tuned`."""
_COPY = "# Not tuned: a copy of {source}, so that CONFIG=tuned serves this model too.\n"
_ROWS_PREFIX = "max_batch_size_of_"
"""Parameters of models that ask others by themselves begin so: the rows that those take."""


def edits(anatomy: Anatomy, candidate: Candidate, model: str) -> list[Edit]:
    """What a candidate changes in the config of one of its models."""

    def batches(config: Any) -> None:
        config.max_batch_size = candidate.max_batch_size

    def delay(config: Any) -> None:
        config.dynamic_batching.max_queue_delay_microseconds = candidate.delay_us

    if model == anatomy.network:
        return [
            batches,
            delay,
            serves(candidate.file),
            instances(candidate.instances),
            threads(candidate.threads),
        ]
    if model in anatomy.fronts:
        return [batches, instances(candidate.front_instances)]
    return [batches]


def write_repository(folder: Path, anatomy: Anatomy, candidate: Candidate) -> None:
    """Writes a repository with only the model and its parts, for one server.

    Args:
        folder: An empty folder.
        anatomy: Of the model.
        candidate: How it is served.
    """
    variants = VariantRepository(folder, anatomy.repository)
    for model in anatomy.models:
        variants.add(model, model, *edits(anatomy, candidate, model))


def write_tuned(anatomy: Anatomy, candidate: Candidate, comments: Iterable[str]) -> list[Path]:
    """Writes `configs/tuned.pbtxt` of the model and its parts.

    Every other model of the repository gets an unchanged copy of its shipped config, unless it
    was tuned itself: Triton takes `config.pbtxt` where a named config is missing, which is for
    GPUs. What asks a tuned model by itself is told how many rows that takes.

    Args:
        anatomy: Of the model.
        candidate: What was found.
        comments: Lines that say why, without the sign of a comment.

    Returns:
        The files of the model and its parts.
    """
    texts: dict[Path, str] = {}
    heading = "".join(f"# {line}\n" for line in comments)
    for model in anatomy.models:
        config = read_config(anatomy.repository, model)
        for edit in edits(anatomy, candidate, model):
            edit(config)
        texts[tuned_path(anatomy.repository, model)] = heading + _text(config)
    written = list(texts)
    for model in _others(anatomy):
        if not _is_tuned(anatomy.repository, model):
            texts[tuned_path(anatomy.repository, model)] = _copy(anatomy, candidate, model)
    for path, text in texts.items():
        _write(path, text)
    return written


def tuned_path(repository: Path, model: str) -> Path:
    """Where the tuned config of a model lies."""
    return repository / model / "configs" / f"{TUNED}.pbtxt"


def _others(anatomy: Anatomy) -> list[str]:
    folders = sorted(path.parent.name for path in anatomy.repository.glob("*/config.pbtxt"))
    return [name for name in folders if name not in anatomy.models]


def _is_tuned(repository: Path, model: str) -> bool:
    path = tuned_path(repository, model)
    first = _COPY.partition("{")[0]
    return path.is_file() and not path.read_text().startswith(first)


def _copy(anatomy: Anatomy, candidate: Candidate, model: str) -> str:
    source = config_path(anatomy.repository, model)
    heading = _COPY.format(source=source.relative_to(anatomy.repository / model))
    config = read_config(anatomy.repository, model)
    told = [f"{_ROWS_PREFIX}{each}" for each in anatomy.models]
    known = [name for name in told if name in config.parameters]
    if not known:
        return heading + source.read_text()
    for name in known:
        config.parameters[name].string_value = str(candidate.max_batch_size)
    return heading + _text(config)


def _text(config: Any) -> str:
    return str(text_format.MessageToString(config))


def _write(path: Path, text: str) -> None:
    """Replaces a file at once, so that a server never reads half of it."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(text)
    partial.replace(path)
