"""Reads and writes Triton's model configs, through its own protobuf; nothing else parses them.

A model has one `config.pbtxt`, and `configs/NAME.pbtxt` where a named config differs from it:
Triton started with `--model-config-name=NAME` takes the former where the latter is missing.
"""

from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from build.errors import BuildError

PLAIN = "config.pbtxt"
CPU = "cpu"
"""The named config for processors."""

ModelConfig = Any
"""A `model_config_pb2.ModelConfig`, which has no types."""


class ModelConfigError(BuildError):
    """A config that is missing or cannot be parsed; the message names the file."""


def models(repository: Path) -> list[str]:
    """The names of all models in a repository, sorted."""
    return sorted(path.parent.name for path in repository.glob(f"*/{PLAIN}"))


def named_path(repository: Path, model: str, name: str) -> Path:
    """Where a model's config of that name lies, if it has one."""
    return repository / model / "configs" / f"{name}.pbtxt"


def path_of(repository: Path, model: str, name: str = CPU) -> Path:
    """The config of a model that Triton takes with `--model-config-name=<name>`."""
    named = named_path(repository, model, name)
    return named if named.is_file() else repository / model / PLAIN


def paths_of(folder: Path) -> list[Path]:
    """All configs in the folder of one model."""
    return [folder / PLAIN, *sorted(folder.glob("configs/*.pbtxt"))]


def of_model(repository: Path, model: str, name: str = CPU) -> ModelConfig:
    """Reads the config of a model that Triton takes with `--model-config-name=<name>`.

    Raises:
        ModelConfigError: There is none, or it cannot be parsed.
    """
    return read(path_of(repository, model, name))


def read(path: Path) -> ModelConfig:
    """Reads one file.

    Raises:
        ModelConfigError: It is missing or cannot be parsed.
    """
    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except (OSError, text_format.ParseError) as error:
        raise ModelConfigError(f"{path} cannot be read: {error}") from error


def from_json(fields: Mapping[str, Any]) -> ModelConfig:
    """The config that a server tells as JSON; fields of newer servers are left out."""
    config = model_config_pb2.ModelConfig()
    return json_format.ParseDict(dict(fields), config, ignore_unknown_fields=True)


def to_json(config: ModelConfig) -> dict[str, Any]:
    """The config with the names of its fields as Triton hands it to a backend."""
    fields: dict[str, Any] = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return fields


def to_text(config: ModelConfig) -> str:
    """The config in the format of `config.pbtxt`."""
    return str(text_format.MessageToString(config))


def write(path: Path, config: ModelConfig, comments: Iterable[str] = ()) -> None:
    """Replaces a file at once, so that a server never reads half of it.

    `comments` are lines for its top, without `#`. Its folder is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text("".join(f"# {line}\n" for line in comments) + to_text(config))
    partial.replace(path)


def comments_of(path: Path) -> list[str]:
    """The lines of comment at the top of a file, as `write` takes them."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text().splitlines())
    return [line.removeprefix("#").removeprefix(" ") for line in lines]


def served_file(config: ModelConfig) -> str:
    """The file of a version that an ONNX model serves."""
    return str(config.default_model_filename) or "model.onnx"


def steps(config: ModelConfig) -> list[str]:
    """The models that an ensemble is made of, in order; of any other model none."""
    return [step.model_name for step in config.ensemble_scheduling.step]
