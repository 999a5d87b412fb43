"""How much memory a batch takes in an exported BERT, from the shapes that its graph names.

ONNX Runtime allocates what a node writes when the node runs, and frees it after its last reader.
The most that is allocated at once, with the weights, is what an instance needs at least. This
leaves out the workspace of a kernel, what the arena rounds up, and the CUDA context, some hundred
megabytes. On the other hand it counts twice what ONNX Runtime computes in place.
"""

import ast
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import onnx
import typer
from onnx import TensorProto, helper

# What the exporter calls sizes that depend on the data: of `build/packed.py`, how many tokens are
# kept, and how many the longest text has.
_KEPT, _LONGEST = "u0", "u1"
# Their output is their input in another shape.
_VIEWS = ("Reshape", "Unsqueeze", "Squeeze", "Identity")


def peak(model: onnx.ModelProto, *, texts: int, tokens: int, longest: int) -> int:
    """The most bytes of activations that are allocated at once.

    Args:
        model: A packed classifier, exported by `build/bert.py`.
        texts: Texts of the batch.
        tokens: Tokens of all of them.
        longest: Tokens of the longest.
    """
    sizes = tensor_bytes(model, texts=texts, tokens=tokens, longest=longest)
    # A view keeps the memory of what it views.
    owners: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in _VIEWS:
            owners[node.output[0]] = owners.get(node.input[0], node.input[0])
    last = {
        owners.get(name, name): position
        for position, node in enumerate(model.graph.node)
        for name in node.input
    }
    allocated, most = 0, 0
    for position, node in enumerate(model.graph.node):
        written = [name for name in node.output if name not in owners]
        allocated += sum(sizes.get(name, 0) for name in written)
        most = max(most, allocated)
        read = {owners.get(name, name) for name in (*node.input, *node.output)}
        allocated -= sum(sizes.get(name, 0) for name in read if last.get(name, -1) <= position)
    return most


def tensor_bytes(
    model: onnx.ModelProto, *, texts: int, tokens: int, longest: int
) -> dict[str, int]:
    """The bytes of each tensor that a node writes, by name.

    Left out are those whose shape the file does not tell: of what checks the inputs and numbers
    the tokens, some bytes a token.
    """
    known = {"texts": texts, "tokens": tokens, _KEPT: tokens, _LONGEST: longest}
    written = {name for node in model.graph.node for name in node.output}
    found = {}
    for value in [*model.graph.value_info, *model.graph.output]:
        tensor = value.type.tensor_type
        if value.name in written and tensor.elem_type != TensorProto.STRING:
            sizes = [_size(dimension, known) for dimension in tensor.shape.dim]
            if None not in sizes:
                numbers = math.prod(size for size in sizes if size is not None)
                found[value.name] = numbers * _width(tensor.elem_type)
    return found


def weight_bytes(model: onnx.ModelProto) -> int:
    """The size of all weights."""
    return sum(
        math.prod(each.dims) * _width(each.data_type)
        for each in model.graph.initializer
        if each.data_type != TensorProto.STRING
    )


def _size(dimension: onnx.TensorShapeProto.Dimension, known: Mapping[str, int]) -> int | None:
    """A size: a number, or a formula as the exporter writes it; None where it is not known."""
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    if not dimension.dim_param:
        return None
    return _value(ast.parse(dimension.dim_param, mode="eval").body, known)


def _value(formula: ast.expr, known: Mapping[str, int]) -> int | None:
    """A name, a number, their sums and products."""
    if isinstance(formula, ast.Constant) and isinstance(formula.value, int):
        return formula.value
    if isinstance(formula, ast.Name):
        return known.get(formula.id)
    if isinstance(formula, ast.BinOp) and isinstance(formula.op, (ast.Add, ast.Mult)):
        left, right = _value(formula.left, known), _value(formula.right, known)
        if left is None or right is None:
            return None
        return left * right if isinstance(formula.op, ast.Mult) else left + right
    raise ValueError(f"a size is {ast.unparse(formula)}: it has to be made of + and *")


def _width(kind: int) -> int:
    return int(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def main(
    file: Annotated[Path, typer.Argument(help="An exported model.")],
    texts: Annotated[int, typer.Option(help="Texts of the batch.")] = 256,
    tokens: Annotated[int, typer.Option(help="Tokens of each.")] = 512,
    longest: Annotated[int, typer.Option(help="Tokens of the longest; 0: all the same.")] = 0,
) -> None:
    """Prints what a batch takes."""
    model = onnx.load(file)
    found = peak(model, texts=texts, tokens=texts * tokens, longest=longest or tokens)
    print(
        f"{texts} texts of {tokens} tokens, the longest {longest or tokens}: "
        f"activations {found / 1e6:,.0f} MB, {found / (texts * tokens) / 1e3:,.1f} kB a token; "
        f"weights {weight_bytes(model) / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    typer.run(main)
