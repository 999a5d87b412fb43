"""The packed graph with int8 arithmetic in its linear layers, for processors.

A number becomes one of 255 steps, and the size of a step decides how much is lost.
ONNX Runtime's own dynamic quantization uses one size for all activations of a
batch, so that an answer depends on its neighbours. Here it is a constant of each
layer, from training texts, or computed for each token. Weights have a size for each
output channel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper, numpy_helper

from build.export import Sample

Floats = npt.NDArray[np.float32]

_IN_A_LAYER = 4  # query, key and value as one; attention's output; two of the feed-forward
_OF_FIRST_TOKENS = 6  # what follows the last layer's keys and values: a text, not a token, a row
# 7 bits: with 8, processors without VNNI overflow in the sum of two products.
_MAX_WEIGHT = 63
_STEPS = 255
_MIDDLE = 128
_DOMAIN = "com.microsoft"
# How much of the differences between channels is moved into the weights (0 to 1).
_SMOOTHING = 0.7
_TINY = np.float32(1e-6)  # a channel may be always 0


class Scale(Enum):
    """Where the step of a layer's activations comes from."""

    CONSTANT = "constant"
    """From the least and the largest activation of training texts: the fastest."""
    TOKEN = "token"  # noqa: S105 - of a text
    """From the largest activation of each token: handles activations that no training text had."""


@dataclass(frozen=True)
class _Range:
    """The least and the largest activation of each channel, FP32 [channels]."""

    least: Floats
    largest: Floats

    def smoothed(self, moved: Floats) -> "_Range":
        return _Range(self.least / moved, self.largest / moved)


def quantize(
    model: onnx.ModelProto, samples: Iterable[Sample], full_layers: int, scale: Scale
) -> onnx.ModelProto:
    """Quantizes the linear layers that work on every token.

    Args:
        model: A packed classifier in FP32.
        samples: Real texts, to observe the range of activations.
        full_layers: How many of the first layers stay FP32; all later ones build
            on their errors.
        scale: Where the step of activations comes from.

    Returns:
        A new model with the same inputs and outputs.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    linear = [node for node in graph.node if node.op_type == "Gemm" and node.input[1] in weights]
    chosen = linear[full_layers * _IN_A_LAYER : -_OF_FIRST_TOKENS]
    ranges = _ranges(model, {node.input[0] for node in chosen}, samples)
    names = {node.name for node in chosen}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(weights[node.input[1]]).T
        replaced, constants = _linear(node, weight, ranges[node.input[0]], scale)
        nodes += replaced
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in constants.items()
        )
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    quantized.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return quantized


def _ranges(
    model: onnx.ModelProto, tensors: set[str], samples: Iterable[Sample]
) -> dict[str, _Range]:
    """The ranges of the channels of tensors [tokens, channels] on real texts."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted(tensors)
    observed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        observed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ranges: dict[str, _Range] = {}
    for sample in samples:
        for name, found in zip(names, session.run(names, sample) if names else (), strict=True):
            least, largest = found.min(axis=0), found.max(axis=0)
            if name in ranges:
                least = np.minimum(least, ranges[name].least)
                largest = np.maximum(largest, ranges[name].largest)
            ranges[name] = _Range(least, largest)
    return ranges


def _linear(
    node: NodeProto, weight: Floats, seen: _Range, scale: Scale
) -> tuple[list[NodeProto], dict[str, npt.NDArray[np.generic]]]:
    """The nodes and constants that replace a linear layer.

    A few channels are much larger than all others, above all behind a LayerNorm.
    Part of that is moved into the weights (SmoothQuant, Xiao et al. 2023).

    Args:
        node: The layer; its input is FP32 [tokens, channels].
        weight: FP32 [channels, outputs].
        seen: The range of its activations.
        scale: Where their step comes from.
    """
    hidden, _, *bias = node.input  # the exporter drops a bias that is all zeros
    nodes: list[NodeProto] = []
    constants: dict[str, npt.NDArray[np.generic]] = {}

    def add(operator: str, inputs: list[str], name: str = "", **attributes: object) -> str:
        made = name or f"{node.name}_{operator}_{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [made], f"{made}_node", **attributes))
        return made

    def constant(name: str, value: npt.ArrayLike, kind: npt.DTypeLike) -> str:
        constants[f"{node.name}_{name}"] = np.asarray(value, kind)
        return f"{node.name}_{name}"

    def multiply(integers: str, step: str, zero_point: str, *bias: str, name: str = "") -> str:
        inputs = [integers, weights, step, steps, zero_point, *(["", *bias] if bias else [])]
        return add("MatMulIntegerToFloat", inputs, name, domain=_DOMAIN)

    size = np.maximum(np.abs(seen.least), np.abs(seen.largest)) + _TINY
    moved = size**_SMOOTHING / (np.abs(weight).max(axis=1) + _TINY) ** (1 - _SMOOTHING)
    weight = weight * moved[:, None]
    hidden = add("Mul", [hidden, constant("smoothing", 1 / moved, np.float32)])
    weight_step = np.maximum(np.abs(weight).max(axis=0), 1e-12) / _MAX_WEIGHT
    steps = constant("weight_steps", weight_step, np.float32)
    weights = constant("weight", np.round(weight / weight_step), np.int8)

    if scale is Scale.CONSTANT:
        step, zero = _steps(seen.smoothed(moved))
        activation_step = constant("activation_step", step, np.float32)
        zero_point = constant("zero_point", zero, np.uint8)
        integers = add("QuantizeLinear", [hidden, activation_step, zero_point])
        multiply(integers, activation_step, zero_point, *bias, name=node.output[0])
        return nodes, constants

    activation_step = constant("activation_step", 2 / _STEPS, np.float32)
    zero_point = constant("zero_point", _MIDDLE, np.uint8)
    axis = constant("axis", [-1], np.int64)
    highest = add("ReduceMax", [add("Abs", [hidden]), axis], keepdims=1)
    # ONNX Runtime 1.23, which Python 3.10 has, gives the maxima of no rows all channels.
    highest = add("Reshape", [highest, constant("column", [-1, 1], np.int64)])
    highest = add("Max", [highest, constant("least", 1e-12, np.float32)])
    scaled = add("QuantizeLinear", [add("Div", [hidden, highest]), activation_step, zero_point])
    product = multiply(scaled, activation_step, zero_point)
    if bias:
        add("Add", [add("Mul", [product, highest]), *bias], node.output[0])
    else:
        add("Mul", [product, highest], node.output[0])
    return nodes, constants


def _steps(seen: _Range) -> tuple[float, int]:
    """The step and the zero point that fit what was seen; GELU has hardly anything below 0."""
    least, largest = min(float(seen.least.min()), 0.0), max(float(seen.largest.max()), 0.0)
    step = max(largest - least, 1e-12) / _STEPS
    return step, round(-least / step)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
