"""What a model is made of, and the configs that it is shipped with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import model_config
from build.data.cache import sha256
from loadtests.load.errors import LoadTestError
from loadtests.load.workload import WORKLOADS
from loadtests.tune.candidate import Candidate


@dataclass(frozen=True)
class Anatomy:
    """A model's parts.

    Attributes:
        repository: The folder of all models.
        model: What callers ask.
        network: The part that computes the answers.
        fronts: The parts before it; without any where the model is no ensemble.
    """

    repository: Path
    model: str
    network: str
    fronts: tuple[str, ...]

    @classmethod
    def of(cls, repository: Path, model: str) -> Anatomy:
        """Reads it from the model's config.

        Raises:
            LoadTestError: A part is not built, has no config, or does not batch dynamically.
        """
        steps = model_config.steps(model_config.of_model(repository, model))
        network = WORKLOADS[model].network
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

    def shipped(self, threads: int) -> Candidate:
        """The config that the model comes with.

        Args:
            threads: What an instance has where the config says nothing.
        """
        config = model_config.of_model(self.repository, self.network)
        written = config.parameters["intra_op_thread_count"].string_value
        fronts = [model_config.of_model(self.repository, name) for name in self.fronts]
        return Candidate(
            file=model_config.served_file(config),
            max_batch_size=config.max_batch_size,
            delay_us=config.dynamic_batching.max_queue_delay_microseconds,
            instances=_instances(config),
            threads=int(written) if written else threads,
            front_instances=max((_instances(front) for front in fronts), default=0),
        )

    def digest(self) -> str:
        """Changes with the configs and files that measurements depend on."""
        found = hashlib.sha256()
        for path in self._files():
            found.update(str(path.relative_to(self.repository)).encode())
            found.update(sha256(path).encode())
        return found.hexdigest()

    def _files(self) -> Iterator[Path]:
        for model in self.models:
            yield model_config.path_of(self.repository, model)
            for path in sorted(self.version(model).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path


def _instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group) or 1
