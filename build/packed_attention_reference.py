"""What ONNX Runtime's `PackedMultiHeadAttention` computes, in standard ONNX operators.

The operator has kernels for GPUs only. A function with the same inputs and attributes, put into a
model, takes its place: ONNX Runtime computes the rest of the graph on any processor as it is.

Its kernels find the tokens of a text in two ways, so there are two functions. The one without a
fused kernel unpacks by `token_offset` and masks by the lengths. Flash attention, the
memory-efficient kernel and TensorRT's read `cumulative_sequence_length` alone, and of
`token_offset` the shape (`contrib_ops/cuda/bert/packed_multihead_attention_impl.cu` of ONNX
Runtime). What is right in both ways is right for whatever kernel a GPU chooses.
"""

from enum import Enum

import onnx
from onnx import helper, parser

DOMAIN, OPERATOR = "com.microsoft", "PackedMultiHeadAttention"
# Another than the operator's, of which ONNX Runtime would look for a kernel.
_DOMAIN = "reference"


class Kernel(Enum):
    """How a kernel finds the place of each token in the padded batch, INT64 [tokens]."""

    UNFUSED = """
        slots = Slice (offsets, zeros, count)
    """
    FUSED = """
        number = Range (nothing, tokens, single)
        numbers = Unsqueeze (number, ones)
        passed = GreaterOrEqual (numbers, ends)
        passes = Cast <to = 7> (passed)
        text = ReduceSum <keepdims = 0> (passes, ones)
        start = Gather (bounds, text)
        place = Sub (number, start)
        before = Mul (text, longest)
        slots = Add (before, place)
    """


def on_cpu(model: onnx.ModelProto, kernel: Kernel) -> onnx.ModelProto:
    """A copy of a model whose packed attention any processor computes.

    Args:
        model: Its nodes of the operator have `num_heads` and `scale`, query, key and value apart,
            and no biases.
        kernel: Which way of finding the tokens is followed.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in attention_nodes(copy):
        node.domain = _DOMAIN
    copy.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    (opset,) = (each.version for each in model.opset_import if not each.domain)
    copy.functions.append(_function(kernel, opset))
    return copy


def attention_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of the operator, in the order of the layers."""
    return [node for node in model.graph.node if (node.domain, node.op_type) == (DOMAIN, OPERATOR)]


def _function(kernel: Kernel, opset: int) -> onnx.FunctionProto:
    """The operator as a function; arithmetic is in FP32, as inside the kernels."""
    return parser.parse_function(f"""
        <domain: "{_DOMAIN}", opset_import: ["" : {opset}]>
        {OPERATOR} <num_heads, scale>
            (query, key, value, bias, token_offset, cumulative_sequence_length) => (output)
        {{
            nothing = Constant <value = int64 {{0}}> ()
            single = Constant <value = int64 {{1}}> ()
            zeros = Constant <value = int64[1] {{0}}> ()
            ones = Constant <value = int64[1] {{1}}> ()
            all = Constant <value = int64[1] {{-1}}> ()
            heads_0 = Constant <value_int: int = @num_heads> ()
            heads = Reshape (heads_0, ones)
            end = Constant <value = int64[1] {{9223372036854775807}}> ()
            lowest = Constant <value = float {{-inf}}> ()

            count = Shape <start = 0, end = 1> (query)
            tokens = Squeeze (count)
            hidden = Shape <start = 1, end = 2> (query)
            size = Div (hidden, heads)
            texts = Shape <start = 0, end = 1> (token_offset)
            width = Shape <start = 1, end = 2> (token_offset)
            longest = Squeeze (width)
            offsets_32 = Reshape (token_offset, all)
            offsets = Cast <to = 7> (offsets_32)
            bounds = Cast <to = 7> (cumulative_sequence_length)
            starts = Slice (bounds, zeros, all)
            ends = Slice (bounds, ones, end)
            {kernel.value}
            index = Unsqueeze (slots, ones)

            area = Mul (texts, width)
            padded = Concat <axis = 0> (area, hidden)
            empty = ConstantOfShape (padded)
            split = Concat <axis = 0> (texts, width, heads, size)
            q_32 = Cast <to = 1> (query)
            k_32 = Cast <to = 1> (key)
            v_32 = Cast <to = 1> (value)
            q_padded = ScatterND (empty, index, q_32)
            k_padded = ScatterND (empty, index, k_32)
            v_padded = ScatterND (empty, index, v_32)
            q_split = Reshape <allowzero = 1> (q_padded, split)
            k_split = Reshape <allowzero = 1> (k_padded, split)
            v_split = Reshape <allowzero = 1> (v_padded, split)
            q = Transpose <perm = [0, 2, 1, 3]> (q_split)
            k = Transpose <perm = [0, 2, 3, 1]> (k_split)
            v = Transpose <perm = [0, 2, 1, 3]> (v_split)

            product = MatMul (q, k)
            factor = Constant <value_float: float = @scale> ()
            scaled = Mul (product, factor)
            lengths = Sub (ends, starts)
            length = Unsqueeze (lengths, ones)
            places = Range (nothing, longest, single)
            present = Less (places, length)
            axes = Constant <value = int64[2] {{1, 2}}> ()
            mask = Unsqueeze (present, axes)
            scores = Where (mask, scaled, lowest)
            weights = Softmax <axis = -1> (scores)
            context = MatMul (weights, v)
            together = Transpose <perm = [0, 2, 1, 3]> (context)
            rows = Reshape <allowzero = 1> (together, padded)
            attended = Gather <axis = 0> (rows, slots)
            output = CastLike (attended, query)
        }}
    """)
