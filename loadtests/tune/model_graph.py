"""What a model is made of, and the configs that it is shipped with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from build.data.cache import sha256
from loadtests.load.errors import LoadTestError
from loadtests.load.workload import WORKLOADS
from loadtests.tune.candidate import Candidate

SHIPPED = "cpu"
"""The config that a search starts from, and whose models it is compared with."""


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
        steps = [
            step.model_name for step in read_config(repository, model).ensemble_scheduling.step
        ]
        network = WORKLOADS[model].network
        found = cls(repository, model, network, tuple(name for name in steps if name != network))
        for part in found.models:
            found.version(part)
        if not read_config(repository, network).HasField("dynamic_batching"):
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
        config = read_config(self.repository, self.network)
        written = config.parameters["intra_op_thread_count"].string_value
        fronts = [read_config(self.repository, name) for name in self.fronts]
        return Candidate(
            file=config.default_model_filename or "model.onnx",
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
            yield config_path(self.repository, model)
            for path in sorted(self.version(model).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path


def config_path(repository: Path, model: str) -> Path:
    """The shipped config of a model; its only one where it has none for processors."""
    named = repository / model / "configs" / f"{SHIPPED}.pbtxt"
    return named if named.is_file() else repository / model / "config.pbtxt"


def read_config(repository: Path, model: str) -> Any:
    """The shipped config as Triton's `ModelConfig`.

    Raises:
        LoadTestError: There is none, or it cannot be read.
    """
    return parse(config_path(repository, model))


def parse(path: Path) -> Any:
    """A config file as Triton's `ModelConfig`.

    Raises:
        LoadTestError: It cannot be read.
    """
    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise LoadTestError(f"{path} cannot be read: {error}") from error


def _instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group) or 1
