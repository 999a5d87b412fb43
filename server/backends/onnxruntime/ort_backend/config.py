"""Reads a model's config, and refuses what this backend cannot do as the C++ one does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigError
from .optimization import SessionConfig, read_session_config
from .ragged import BatchInput, BatchOutput, read_batch_inputs, read_batch_outputs
from .sequences import SequenceConfig, read_sequence_config

DYNAMIC = -1
"""A dimension that a request decides."""


@dataclass(frozen=True)
class TensorConfig:
    """An input or output as the config declares it."""

    name: str
    data_type: str  # Triton's name of it, such as `TYPE_FP32`
    dims: tuple[int, ...]  # as the model sees them, without the batch dimension
    ragged: bool = False  # the batch is one flat row of the elements of all requests
    optional: bool = False  # a request may leave it out


@dataclass(frozen=True)
class BackendConfig:
    """What the backend needs to know of a model's config."""

    inputs: tuple[TensorConfig, ...]
    outputs: tuple[TensorConfig, ...]
    max_batch_size: int  # 0 for a model whose tensors have no batch dimension
    model_filename: str = "model.onnx"
    session: SessionConfig = field(default_factory=SessionConfig)
    batch_inputs: tuple[BatchInput, ...] = ()
    batch_outputs: tuple[BatchOutput, ...] = ()
    sequences: SequenceConfig | None = None
    instances_on_cpu: int = 1  # they share the processor's cores

    @property
    def batched(self) -> bool:
        """Whether the tensors have a batch dimension."""
        return self.max_batch_size > 0


def read_config(config: Mapping[str, Any]) -> BackendConfig:
    """Reads what the backend needs to know of a model's config, as Triton hands it over.

    Raises:
        ConfigError: It asks for something that this backend cannot do.
    """
    _refuse_unsupported(config)
    max_batch_size = int(config.get("max_batch_size", 0))
    outputs = _tensors("output", config.get("output", []))
    read = BackendConfig(
        inputs=_tensors("input", config.get("input", [])),
        outputs=outputs,
        max_batch_size=max_batch_size,
        model_filename=config.get("default_model_filename") or "model.onnx",
        session=read_session_config(config),
        batch_inputs=read_batch_inputs(config.get("batch_input", [])),
        batch_outputs=read_batch_outputs(
            config.get("batch_output", []), {output.name: output.dims for output in outputs}
        ),
        sequences=read_sequence_config(config.get("sequence_batching"), max_batch_size),
        instances_on_cpu=sum(
            int(group.get("count", 1))
            for group in config.get("instance_group", [])
            if group.get("kind") == "KIND_CPU"
        ),
    )
    _check_together(read)
    return read


def _refuse_unsupported(config: Mapping[str, Any]) -> None:
    if config.get("model_transaction_policy", {}).get("decoupled"):
        raise ConfigError(
            "model_transaction_policy.decoupled is true: an ONNX model gives one answer a request"
        )
    if config.get("cc_model_filenames"):
        raise ConfigError(
            "cc_model_filenames: a Python-based backend is not told the compute capability of its "
            "GPU; name one file in default_model_filename"
        )
    for side in ("input", "output"):
        for tensor in config.get(side, []):
            for flag in ("is_shape_tensor", "is_non_linear_format_io"):
                if tensor.get(flag):
                    raise ConfigError(
                        f"{side} {tensor['name']!r}: {flag} is true, which is for TensorRT models"
                    )


def _tensors(side: str, entries: list[dict[str, Any]]) -> tuple[TensorConfig, ...]:
    if not entries:
        raise ConfigError(f"{side}: the config declares none, and each one has to be declared")
    return tuple(
        TensorConfig(
            name=entry["name"],
            data_type=entry["data_type"],
            dims=_dims(entry),
            ragged=bool(entry.get("allow_ragged_batch")),
            optional=bool(entry.get("optional")),
        )
        for entry in entries
    )


def _dims(entry: Mapping[str, Any]) -> tuple[int, ...]:
    reshape = entry.get("reshape")
    return tuple(map(int, entry["dims"] if reshape is None else reshape.get("shape", [])))


def _check_together(config: BackendConfig) -> None:
    for tensor in config.inputs:
        optional = f"input {tensor.name!r}: optional is true"
        if tensor.optional and config.batched:
            raise ConfigError(
                f"{optional}, which the C++ backend takes only with max_batch_size 0, "
                f"and it is {config.max_batch_size}"
            )
        if tensor.optional and tensor.ragged:
            raise ConfigError(f"{optional} and so is allow_ragged_batch; it can be one of the two")
    if config.batch_inputs and not config.batched:
        raise ConfigError("batch_input: max_batch_size is 0, so that there are no batches")
    names = {tensor.name for tensor in config.inputs}
    sources = [("batch_input", entry.source) for entry in config.batch_inputs]
    sources += [("batch_output", entry.source) for entry in config.batch_outputs]
    for where, source in sources:
        if source not in names:
            raise ConfigError(f"{where}: source_input is {source!r}, which is not among the inputs")
