"""ONNX models of one or two nodes, with their configs, for tests to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

TRITON_TYPES = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.STRING: "TYPE_STRING",
}


@dataclass(frozen=True)
class Tensor:
    """An input or output; a dimension that is a string is variable."""

    name: str
    onnx_type: int
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class SmallModel:
    """A graph and the batch size that it is served with (0: no batch dimension)."""

    nodes: Sequence[onnx.NodeProto]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    max_batch_size: int = 8
    initializers: Sequence[onnx.TensorProto] = ()

    def write(self, path: Path) -> None:
        """Writes the ONNX file.

        Args:
            path: Where to.
        """
        graph = helper.make_graph(
            list(self.nodes),
            "small",
            [helper.make_tensor_value_info(t.name, t.onnx_type, t.shape) for t in self.inputs],
            [helper.make_tensor_value_info(t.name, t.onnx_type, t.shape) for t in self.outputs],
            list(self.initializers),
        )
        opset = [helper.make_opsetid("", 17)]
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))

    def config(self, extra: str = "", *, kind: str = "KIND_CPU") -> str:
        """Writes the config that fits the model.

        Args:
            extra: More of the config's text.
            kind: What its instance computes on.

        Returns:
            The text of config.pbtxt.
        """
        skipped = 1 if self.max_batch_size else 0

        def tensor(field: str, tensor: Tensor) -> str:
            dims = [-1 if isinstance(size, str) else size for size in tensor.shape[skipped:]]
            return (
                f'{field} [{{ name: "{tensor.name}" dims: {dims} '
                f"data_type: {TRITON_TYPES[tensor.onnx_type]} }}]"
            )

        lines = [
            'backend: "onnxruntime"',
            f"max_batch_size: {self.max_batch_size}",
            *(tensor("input", t) for t in self.inputs),
            *(tensor("output", t) for t in self.outputs),
            f"instance_group [{{ kind: {kind} count: 1 }}]",
            extra,
        ]
        return "\n".join(lines) + "\n"

    def add_to(self, repository: Path, name: str, config: str | None = None) -> None:
        """Puts the model into a repository.

        Args:
            repository: The folder of models.
            name: The model's name.
            config: The text of config.pbtxt; the one that fits when None.
        """
        self.write(repository / name / "1" / "model.onnx")
        (repository / name / "config.pbtxt").write_text(self.config() if config is None else config)


LOOKUP = SmallModel(
    nodes=[helper.make_node("Gather", ["table", "ids"], ["values"], axis=0)],
    inputs=[Tensor("ids", TensorProto.INT64, ("rows", 2))],
    outputs=[Tensor("values", TensorProto.FLOAT, ("rows", 2))],
    initializers=[helper.make_tensor("table", TensorProto.FLOAT, [4], [0, 10, 20, 30])],
)
"""Looks ids up in [0, 10, 20, 30]; an id from 4 on makes a whole run fail."""

ECHO_TEXT = SmallModel(
    nodes=[helper.make_node("Identity", ["text"], ["echo"])],
    inputs=[Tensor("text", TensorProto.STRING, ("rows", "words"))],
    outputs=[Tensor("echo", TensorProto.STRING, ("rows", "words"))],
)

MEAN_AND_DOUBLE = SmallModel(
    nodes=[
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1]),
        helper.make_node("Add", ["x", "x"], ["double"]),
    ],
    inputs=[Tensor("x", TensorProto.FLOAT, ("rows", "length"))],
    outputs=[
        Tensor("mean", TensorProto.FLOAT, ("rows", 1)),
        Tensor("double", TensorProto.FLOAT, ("rows", "length")),
    ],
)

UNBATCHED = SmallModel(
    nodes=[helper.make_node("Add", ["x", "x"], ["double"])],
    inputs=[Tensor("x", TensorProto.FLOAT, (3,))],
    outputs=[Tensor("double", TensorProto.FLOAT, (3,))],
    max_batch_size=0,
)

FIRST_ROW = SmallModel(
    nodes=[helper.make_node("Compress", ["x", "chosen"], ["first"], axis=0)],
    inputs=[Tensor("x", TensorProto.FLOAT, ("rows", 2))],
    outputs=[Tensor("first", TensorProto.FLOAT, ("some", 2))],
    initializers=[helper.make_tensor("chosen", TensorProto.BOOL, [1], [True])],
)
"""Gives one row, whatever the size of the batch."""
