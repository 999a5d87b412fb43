"""A model's parts: the configs that they are shipped with, and a candidate as their configs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from build import model_config
from build.data.cache import sha256
from loadtests.compare.repository import (
    Edit,
    VariantRepository,
    in_batches_of,
    instances,
    serves,
    threads,
)
from loadtests.load.errors import LoadTestError
from loadtests.load.workload import workloads
from loadtests.report.machine import cores
from loadtests.tune.space import Candidate, Space, space_around

TUNED = "tuned"
"""The name of the config that a search writes: `make serve CONFIG=tuned`."""
_COPY = "Not tuned: a copy of {source}, so that CONFIG=tuned serves this model too."
_ROWS_PREFIX = "max_batch_size_of_"
"""Parameters of models that ask others by themselves begin so: the rows that those take."""


@dataclass(frozen=True)
class ModelGraph:
    """A model and the parts that it is made of."""

    repository: Path
    model: str  # what callers ask
    network: str  # the part that computes the answers
    fronts: tuple[str, ...]  # the parts before it; empty where the model is no ensemble

    @classmethod
    def of(cls, repository: Path, model: str) -> ModelGraph:
        """Reads it from the model's config.

        Raises:
            LoadTestError: A part is not built, has no config, or does not batch dynamically.
        """
        steps = model_config.steps(model_config.of_model(repository, model))
        network = workloads()[model].network
        found = cls(repository, model, network, tuple(name for name in steps if name != network))
        for part in found.models:
            found.version(part)
        if not model_config.of_model(repository, network).HasField("dynamic_batching"):
            raise LoadTestError(
                f"MODEL is {model!r}: it cannot be tuned, since {network} has no dynamic_batching"
            )
        return found

    @property
    def models(self) -> tuple[str, ...]:
        """All models whose configs are tuned, the one that is asked last."""
        return tuple(dict.fromkeys([*self.fronts, self.network, self.model]))

    def version(self, model: str) -> Path:
        """The folder of the version that is served.

        Raises:
            LoadTestError: There is none.
        """
        folder = self.repository / model
        versions = [path for path in folder.glob("[0-9]*") if path.name.isdigit()]
        if not versions:
            raise LoadTestError(f"{folder} has no version: run make build")
        return max(versions, key=lambda path: int(path.name))

    def files(self) -> tuple[Path, ...]:
        """The network's ONNX files that a processor computes well; FP16 is for GPUs."""
        found = sorted(self.version(self.network).glob("*.onnx"))
        return tuple(path for path in found if ".fp16." not in path.name)

    def shipped(self, default_threads: int) -> Candidate:
        """The config that the model comes with."""
        config = model_config.of_model(self.repository, self.network)
        written = config.parameters["intra_op_thread_count"].string_value
        fronts = [model_config.of_model(self.repository, name) for name in self.fronts]
        return Candidate(
            file=model_config.served_file(config),
            max_batch_size=config.max_batch_size,
            delay_us=config.dynamic_batching.max_queue_delay_microseconds,
            instances=_instances(config),
            threads=int(written) if written else default_threads,
            front_instances=max((_instances(front) for front in fronts), default=0),
        )

    def space(self, *, count: int | None = None, memory: int | None = None) -> Space:
        """The candidates that fit into so many cores and free bytes; None for this machine's.

        Raises:
            LoadTestError: Not even the shipped config fits, or there is no file to serve.
        """
        count = cores() if count is None else count
        memory = psutil.virtual_memory().available if memory is None else memory
        sizes = {path.name: path.stat().st_size for path in self.files()}
        if not sizes:
            raise LoadTestError(f"{self.network} has no ONNX file that a processor can serve")
        shipped, fronts = self.shipped(count), len(self.fronts)
        return space_around(self.model, shipped, sizes, fronts, count=count, memory=memory)

    def digest(self) -> str:
        """Changes with the configs and files that measurements depend on."""
        found = hashlib.sha256()
        for model in self.models:
            files = sorted(path for path in self.version(model).rglob("*") if path.is_file())
            for path in [model_config.path_of(self.repository, model), *files]:
                if "__pycache__" not in path.parts:
                    found.update(str(path.relative_to(self.repository)).encode())
                    found.update(sha256(path).encode())
        return found.hexdigest()


def _instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group) or 1


def edits(graph: ModelGraph, candidate: Candidate, model: str) -> list[Edit]:
    """What a candidate changes in the config of one of the graph's models."""

    def delay(config: Any) -> None:
        config.dynamic_batching.max_queue_delay_microseconds = candidate.delay_us

    changes = [in_batches_of(candidate.max_batch_size)]
    if model == graph.network:
        changes += [delay, serves(candidate.file)]
        changes += [instances(candidate.instances), threads(candidate.threads)]
    elif model in graph.fronts:
        changes.append(instances(candidate.front_instances))
    return changes


def write_repository(folder: Path, graph: ModelGraph, candidate: Candidate) -> None:
    """Writes a repository with only the model and its parts to an empty folder."""
    variants = VariantRepository(folder, graph.repository)
    for model in graph.models:
        variants.add(model, model, *edits(graph, candidate, model))


def write_tuned(graph: ModelGraph, candidate: Candidate, comments: Iterable[str]) -> list[Path]:
    """Writes `configs/tuned.pbtxt` of the model and its parts.

    Every other model of the repository gets an unchanged copy of its shipped config, unless it
    was tuned itself: Triton takes `config.pbtxt` where a named config is missing, which is for
    GPUs. What asks a tuned model, as an ensemble or by itself, is told how many rows that takes.

    Args:
        graph: The model and its parts.
        candidate: What was found.
        comments: Lines that say why, without the sign of a comment.

    Returns:
        The files of the model and its parts.
    """
    repository = graph.repository
    configs = {model: model_config.of_model(repository, model) for model in graph.models}
    for model, config in configs.items():
        for edit in edits(graph, candidate, model):
            edit(config)
    names = [name for name in model_config.models(repository) if name not in configs]
    tuned_before = [name for name in names if _is_tuned(repository, name)]
    others = {
        name: model_config.read(tuned_path(repository, name))
        if name in tuned_before
        else model_config.of_model(repository, name)
        for name in names
    }
    rows = {model: config.max_batch_size for model, config in (configs | others).items()}
    for model, config in configs.items():
        model_config.write(tuned_path(repository, model), config, comments)
    for model, config in others.items():
        is_changed = _limit_rows(config, rows)
        path = tuned_path(repository, model)
        if model not in tuned_before:
            source = model_config.path_of(repository, model).relative_to(repository / model)
            model_config.write(path, config, [_COPY.format(source=source)])
        elif is_changed:
            model_config.write(path, config, model_config.comments_of(path))
    return [tuned_path(repository, model) for model in configs]


def tuned_path(repository: Path, model: str) -> Path:
    """Where the tuned config of a model lies."""
    return model_config.named_path(repository, model, TUNED)


def _is_tuned(repository: Path, model: str) -> bool:
    path = tuned_path(repository, model)
    return path.is_file() and not path.read_text().startswith("# " + _COPY.partition("{")[0])


def _limit_rows(config: Any, rows: Mapping[str, int]) -> bool:
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
