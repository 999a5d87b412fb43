"""A candidate as configs: in a repository of its own, and for good as `configs/tuned.pbtxt`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from build import model_config
from loadtests.compare.repository import Edit, VariantRepository, instances, serves, threads
from loadtests.tune.candidate import Candidate
from loadtests.tune.model_graph import Anatomy

TUNED = "tuned"
"""The name of the config that a search writes: `make serve CONFIG=tuned`."""
_COPY = "Not tuned: a copy of {source}, so that CONFIG=tuned serves this model too."
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
    GPUs. What asks a tuned model, as an ensemble or by itself, is told how many rows that takes.

    Args:
        anatomy: Of the model.
        candidate: What was found.
        comments: Lines that say why, without the sign of a comment.

    Returns:
        The files of the model and its parts.
    """
    repository = anatomy.repository
    configs = {model: model_config.of_model(repository, model) for model in anatomy.models}
    for model, config in configs.items():
        for edit in edits(anatomy, candidate, model):
            edit(config)
    others = {model: _served(repository, model) for model in _others(anatomy)}
    rows = {model: config.max_batch_size for model, config in (configs | others).items()}
    for model, config in configs.items():
        model_config.write(tuned_path(repository, model), config, comments)
    for model, config in others.items():
        changed = _agree(config, rows)
        path = tuned_path(repository, model)
        if not _is_tuned(repository, model):
            source = model_config.path_of(repository, model).relative_to(repository / model)
            model_config.write(path, config, [_COPY.format(source=source)])
        elif changed:
            model_config.write(path, config, model_config.comments_of(path))
    return [tuned_path(repository, model) for model in configs]


def tuned_path(repository: Path, model: str) -> Path:
    """Where the tuned config of a model lies."""
    return model_config.named_path(repository, model, TUNED)


def _others(anatomy: Anatomy) -> list[str]:
    known = model_config.models(anatomy.repository)
    return [name for name in known if name not in anatomy.models]


def _served(repository: Path, model: str) -> Any:
    """What CONFIG=tuned should serve of a model that is not tuned now."""
    if not _is_tuned(repository, model):
        return model_config.of_model(repository, model)
    return model_config.read(tuned_path(repository, model))


def _is_tuned(repository: Path, model: str) -> bool:
    path = tuned_path(repository, model)
    return path.is_file() and not path.read_text().startswith("# " + _COPY.partition("{")[0])


def _agree(config: Any, rows: Mapping[str, int]) -> bool:
    """Has a config ask other models for no more rows than they take.

    Returns:
        Whether that changed it.
    """
    before = config.SerializeToString(deterministic=True)
    steps = [rows[model] for model in model_config.steps(config)]
    config.max_batch_size = min([config.max_batch_size, *steps])
    for name, parameter in config.parameters.items():
        if name.startswith(_ROWS_PREFIX):
            parameter.string_value = str(rows[name.removeprefix(_ROWS_PREFIX)])
    return bool(config.SerializeToString(deterministic=True) != before)
