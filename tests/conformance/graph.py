"""Small ONNX models with their configs, written as a repository that any Triton serves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf import json_format, text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2

TYPES: dict[str, tuple[int, Any]] = {
    "BOOL": (TensorProto.BOOL, np.bool_),
    "UINT8": (TensorProto.UINT8, np.uint8),
    "UINT16": (TensorProto.UINT16, np.uint16),
    "UINT32": (TensorProto.UINT32, np.uint32),
    "UINT64": (TensorProto.UINT64, np.uint64),
    "INT8": (TensorProto.INT8, np.int8),
    "INT16": (TensorProto.INT16, np.int16),
    "INT32": (TensorProto.INT32, np.int32),
    "INT64": (TensorProto.INT64, np.int64),
    "FP16": (TensorProto.FLOAT16, np.float16),
    "FP32": (TensorProto.FLOAT, np.float32),
    "FP64": (TensorProto.DOUBLE, np.float64),
    "STRING": (TensorProto.STRING, np.object_),
}
"""ONNX's and NumPy's names of the types that Triton shares with both."""

Dims = Sequence[int | str]
node = helper.make_node
KIND = "KIND_GPU" if os.environ.get("DEVICE") == "gpu" else "KIND_CPU"
"""Of the models' instances."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph; a dimension that is a word is variable."""

    name: str
    type: str
    shape: Dims

    @property
    def value_info(self) -> onnx.ValueInfoProto:
        """The same for ONNX."""
        return helper.make_tensor_value_info(self.name, TYPES[self.type][0], list(self.shape))

    def declared(self, *, batched: bool) -> dict[str, Any]:
        """The same for Triton, which leaves the batch dimension out."""
        shape = list(self.shape)[1:] if batched else list(self.shape)
        dims = [-1 if isinstance(size, str) else size for size in shape]
        return {"name": self.name, "data_type": f"TYPE_{self.type}", "dims": dims or [1]}


def constant(name: str, values: Any, dtype: Any = np.int64) -> onnx.TensorProto:
    """Makes an initializer."""
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


@dataclass(frozen=True)
class Model:
    """A graph and what its config says besides the plain.

    Attributes:
        name: What it shows.
        nodes: The graph.
        inputs: Its inputs; those that nothing in `config` provides are declared.
        outputs: Its outputs; all are declared, except those that are only states.
        config: Fields of the config, which replace the plain ones.
        max_batch_size: 0 for tensors without a batch dimension.
        initializers: The graph's constants.
        file: The model's file in the version's folder.
        files: Further files in the model's folder.
        versions: The initializers that differ, by version.
    """

    name: str
    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    max_batch_size: int = 8
    initializers: Sequence[onnx.TensorProto] = ()
    file: str = "model.onnx"
    files: Mapping[str, bytes] = field(default_factory=dict)
    versions: Mapping[str, Sequence[onnx.TensorProto]] = field(default_factory=lambda: {"1": ()})
    external_data: bool = False

    @property
    def config_text(self) -> str:
        """The config as Triton reads it, checked by its own protobuf.

        The variable IO_BINDING is the backend's parameter of that name, for all models.
        """
        provided = _provided(self.config)
        batched = self.max_batch_size > 0
        fields: dict[str, Any] = {
            "name": self.name,
            "backend": "onnxruntime",
            "max_batch_size": self.max_batch_size,
            "input": [t.declared(batched=batched) for t in self.inputs if t.name not in provided],
            "output": [t.declared(batched=batched) for t in self.outputs],
            "instance_group": [{"kind": KIND, "count": 1}],
            **self.config,
        }
        if binding := os.environ.get("IO_BINDING"):
            parameters = {"io_binding": {"string_value": binding}}
            fields["parameters"] = {**parameters, **fields.get("parameters", {})}
        message = json_format.ParseDict(fields, model_config_pb2.ModelConfig())
        return str(text_format.MessageToString(message))

    def write(self, repository: Path) -> None:
        """Writes the model into a repository.

        Args:
            repository: The folder of models.
        """
        folder = repository / self.name
        for version, initializers in self.versions.items():
            path = folder / version / self.file
            path.parent.mkdir(parents=True, exist_ok=True)
            onnx.save(
                self._graph(initializers),
                str(path),
                save_as_external_data=self.external_data,
                size_threshold=0,
                location="weights.bin",
            )
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "config.pbtxt").write_text(self.config_text)

    def _graph(self, initializers: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
        graph = helper.make_graph(
            list(self.nodes),
            self.name,
            [tensor.value_info for tensor in self.inputs],
            [tensor.value_info for tensor in self.outputs],
            [*self.initializers, *initializers],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _provided(config: Mapping[str, Any]) -> set[str]:
    sequences = config.get("sequence_batching", {})
    names = {entry["name"] for entry in sequences.get("control_input", [])}
    names.update(entry["input_name"] for entry in sequences.get("state", []))
    names.update(name for entry in config.get("batch_input", []) for name in entry["target_name"])
    return names
