"""The packed graph with int8 arithmetic in its linear layers, for processors.

A number becomes one of 255 steps, and how large a step is decides what is lost.
ONNX Runtime's own dynamic quantization takes one step for all activations of a
batch, so that an answer depends on its neighbours. Here each token has a step of
its own, from its largest activation, and each output channel of the weights too.
"""

from collections.abc import Iterable

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
_MOST_WEIGHT = 63
_MOST_ACTIVATION = 127
_ZERO_POINT = 128
_DOMAIN = "com.microsoft"


def quantize(
    model: onnx.ModelProto, samples: Iterable[Sample], full_layers: int
) -> onnx.ModelProto:
    """Quantizes the linear layers that work on every token.

    Args:
        model: A packed classifier in FP32.
        samples: Real texts, to see which activations grow large.
        full_layers: How many of the first layers stay FP32; all later ones build
            on their errors.

    Returns:
        A new model with the same inputs and outputs.
    """
    quantized = onnx.ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    linear = [node for node in graph.node if node.op_type == "Gemm" and node.input[1] in weights]
    chosen = linear[full_layers * _IN_A_LAYER : -_OF_FIRST_TOKENS]
    normalized = {node.output[0] for node in graph.node if node.op_type == "LayerNormalization"}
    largest = _largest(model, {n.input[0] for n in chosen} & normalized, samples)
    names = {node.name for node in chosen}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        weight = numpy_helper.to_array(weights[node.input[1]]).T
        replaced, constants = _linear(node, weight, largest.get(node.input[0]))
        nodes += replaced
        graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in constants.items()
        )
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    quantized.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    return quantized


def _largest(
    model: onnx.ModelProto, tensors: set[str], samples: Iterable[Sample]
) -> dict[str, Floats]:
    """The largest absolute value of each channel of tensors [tokens, channels]."""
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = sorted(tensors)
    observed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = onnxruntime.InferenceSession(
        observed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest: dict[str, Floats] = {}
    for sample in samples:
        for name, found in zip(names, session.run(names, sample) if names else (), strict=True):
            highest = np.abs(found).max(axis=0)
            largest[name] = np.maximum(largest.get(name, highest), highest)
    return largest


def _linear(
    node: NodeProto, weight: Floats, largest: Floats | None
) -> tuple[list[NodeProto], dict[str, npt.NDArray[np.generic]]]:
    """The nodes and constants that take the place of a linear layer.

    Args:
        node: The layer; its input is FP32 [tokens, channels].
        weight: FP32 [channels, outputs].
        largest: The largest activation of each channel, if it comes out of a
            LayerNorm. There a few channels are much larger than all others, and
            part of that is moved into the weights (SmoothQuant, Xiao et al. 2023,
            with alpha = 0.5).
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

    if largest is not None:
        tiny = np.float32(1e-6)  # a channel may be always 0
        moved = np.sqrt((largest + tiny) / (np.abs(weight).max(axis=1) + tiny))
        weight = weight * moved[:, None]
        hidden = add("Mul", [hidden, constant("smoothing", 1 / moved, np.float32)])
    step = np.maximum(np.abs(weight).max(axis=0), 1e-12) / _MOST_WEIGHT
    steps = constant("weight_steps", step, np.float32)
    integers = constant("weight", np.round(weight / step), np.int8)
    zero_point = constant("zero_point", _ZERO_POINT, np.uint8)
    activation_step = constant("activation_step", 1 / _MOST_ACTIVATION, np.float32)

    axis = constant("axis", [-1], np.int64)
    highest = add("ReduceMax", [add("Abs", [hidden]), axis], keepdims=1)
    highest = add("Max", [highest, constant("least", 1e-12, np.float32)])
    scaled = add("QuantizeLinear", [add("Div", [hidden, highest]), activation_step, zero_point])
    product = add(
        "MatMulIntegerToFloat",
        [scaled, integers, activation_step, steps, zero_point],
        domain=_DOMAIN,
    )
    if bias:
        add("Add", [add("Mul", [product, highest]), *bias], name=node.output[0])
    else:
        add("Mul", [product, highest], name=node.output[0])
    return nodes, constants


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
